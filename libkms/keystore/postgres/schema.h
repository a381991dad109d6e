// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "keystore/postgres/connection.h"

namespace kms::postgres {

inline constexpr int kSchemaVersion = 3;
inline constexpr int kShards = 8;  // rows of kms_change

// The version of the schema in the database; 0 when there is none.
Result<int> schema_version(Connection& connection);
// One step of the migrations: from version to version + 1, within the caller's transaction.
Result<void> migrate_schema(Connection& connection, int version);
// An error (configuration) unless the schema is the one that this build knows.
Result<void> check_schema(Connection& connection);

// Why the server could forget a commit that it acknowledged: synchronous_commit is off, or, with
// require_standby, no synchronous standby is configured; empty: it could not. What replicates by
// itself (CockroachDB, YugabyteDB) has no such settings, and is fine. An error (configuration) when
// fsync is off, which no later change of a standby cures.
Result<std::string> commit_problem(Connection& connection, bool require_standby);
// The same for values that a statement brought along.
std::string commit_problem(const std::string& synchronous_commit, const std::string& standby_names,
                           bool require_standby);

}  // namespace kms::postgres
