// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/change_log.h"

#include "keystore/postgres/schema.h"
#include "keystore/postgres/statements.h"

namespace kms::postgres {

Result<ChangeCounters> read_counters(Connection& connection) {
  auto rows = connection.run("SELECT shard, counter FROM kms_change ORDER BY shard");
  if (!rows.ok()) return std::move(rows).error();
  if (rows->size() != kShards)
    return Error(ErrorKind::corrupt, "kms_change does not have its rows");
  ChangeCounters counters;
  for (int i = 0; i < kShards; ++i) counters.push_back(rows->number(i, 1));
  return counters;
}

Result<ChangesSince> changes_since(Connection& connection, const ChangeCounters& counters) {
  Params seen;
  for (const std::int64_t counter : counters) seen.number(counter);
  auto rows = connection.run(KMS_CHANGES_SINCE, seen);
  if (!rows.ok()) return std::move(rows).error();
  ChangesSince changes{counters, {}, true};
  ChangeCounters by_lines = counters;
  for (int i = 0; i < rows->size(); ++i) {
    const auto shard = static_cast<std::size_t>(rows->number(i, 0));
    if (shard >= counters.size()) continue;  // the statement asks for no other
    changes.counters[shard] = rows->number(i, 1);
    if (rows->is_null(i, 2)) continue;
    ++by_lines[shard];
    changes.names.push_back(rows->text(i, 2));
  }
  changes.complete = by_lines == changes.counters;
  return changes;
}

}  // namespace kms::postgres
