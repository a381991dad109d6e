// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "keystore/postgres/connection.h"

namespace kms::postgres {

// How far each shard of the log of changes is, by its number.
using ChangeCounters = std::vector<std::int64_t>;

// Errors: of the connection; corrupt when a shard has no counter.
Result<ChangeCounters> read_counters(Connection& connection);

// What the log says since some counters, as of one moment.
struct ChangesSince {
  ChangeCounters counters;         // of now
  std::vector<std::string> names;  // of what was changed; one may stand there twice
  // A shard brings as many lines as its counter went ahead. Else the lines were trimmed, or the
  // database is another one than before, from a backup for instance: nothing known is good.
  bool complete = true;
};
Result<ChangesSince> changes_since(Connection& connection, const ChangeCounters& counters);

}  // namespace kms::postgres
