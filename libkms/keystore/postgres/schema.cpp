// SPDX-License-Identifier: Apache-2.0
// Tables, and what is asked of the server that holds them.
#include "keystore/postgres/schema.h"

#include <array>
#include <span>

#include "core/clock.h"
#include "keystore/postgres/migration_3.h"

namespace kms::postgres {
namespace {

// Standard SQL only, so that CockroachDB and YugabyteDB take it. Times are ms since the epoch, UTC.
constexpr const char* kVersion1[] = {
    "CREATE TABLE kms_schema (version integer PRIMARY KEY, applied_ms bigint NOT NULL)",
    // Sealing keys by name, and what makes one of a passphrase. No secrets.
    "CREATE TABLE kms_seal (seal_id text PRIMARY KEY, kind text NOT NULL, parameters text NOT NULL,"
    " created_ms bigint NOT NULL)",
    "CREATE TABLE kms_key (name text PRIMARY KEY, incarnation text NOT NULL, cipher text NOT NULL,"
    " bit_length integer NOT NULL, details text NOT NULL, created_ms bigint NOT NULL,"
    " versions integer NOT NULL, state text NOT NULL, deleted_ms bigint, revision bigint NOT NULL,"
    " wrapped_key bytea NOT NULL, seal_id text NOT NULL, tag bytea NOT NULL)",
    "CREATE TABLE kms_key_version (name text NOT NULL, version integer NOT NULL,"
    " created_ms bigint NOT NULL, sealed bytea NOT NULL, wrapped_key bytea NOT NULL,"
    " seal_id text NOT NULL, PRIMARY KEY (name, version))",
    // A change takes the next number of one shard, whose row stays locked until the commit: so the
    // numbers of a shard become visible in their order.
    "CREATE TABLE kms_change (shard integer PRIMARY KEY, counter bigint NOT NULL)",
    "CREATE TABLE kms_change_log (shard integer NOT NULL, counter bigint NOT NULL,"
    " name text NOT NULL, operation text NOT NULL, PRIMARY KEY (shard, counter))",
    "INSERT INTO kms_change (shard, counter) VALUES"
    " (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0)",
};

// What the nodes share beside keys: records.h.
constexpr const char* kVersion2[] = {
    "CREATE TABLE kms_record (kind text NOT NULL, number bigint NOT NULL,"
    " expires_ms bigint NOT NULL, revision bigint NOT NULL, sealed bytea NOT NULL,"
    " wrapped_key bytea NOT NULL, seal_id text NOT NULL, PRIMARY KEY (kind, number))",
    "CREATE INDEX kms_record_expires ON kms_record (kind, expires_ms)",
    "CREATE TABLE kms_counter (name text PRIMARY KEY, value bigint NOT NULL)",
};

constexpr std::array<std::span<const char* const>, kSchemaVersion> kMigrations = {
    kVersion1, kVersion2, kVersion3};

Error not_ours(const std::string& text) {
  return Error(ErrorKind::configuration, text);
}

}  // namespace

Result<int> schema_version(Connection& connection) {
  auto rows = connection.run("SELECT COALESCE(MAX(version), 0) FROM kms_schema");
  if (!rows.ok()) {
    if (connection.fault() == Fault::no_table) return 0;
    return std::move(rows).error();
  }
  return static_cast<int>(rows->number(0, 0));
}

Result<void> migrate_schema(Connection& connection, int version) {
  for (const char* statement : kMigrations[static_cast<std::size_t>(version)])
    if (auto done = connection.run(statement); !done.ok()) return std::move(done).error();
  auto noted = connection.run("INSERT INTO kms_schema (version, applied_ms) VALUES ($1, $2)",
                              Params().number(version + 1).number(now_ms()));
  if (!noted.ok()) return std::move(noted).error();
  return {};
}

Result<void> check_schema(Connection& connection) {
  auto version = schema_version(connection);
  if (!version.ok()) return std::move(version).error();
  if (*version == kSchemaVersion) return {};
  if (*version == 0) return not_ours("the database has no key store yet: run 'kmsctl store init'");
  if (*version < kSchemaVersion)
    return not_ours("the key store is of version " + std::to_string(*version) +
                    ", older than this program: run 'kmsctl store upgrade'");
  return not_ours("the key store is of version " + std::to_string(*version) +
                  ", this program knows up to " + std::to_string(kSchemaVersion));
}

std::string commit_problem(const std::string& synchronous_commit, const std::string& standby_names,
                           bool require_standby) {
  if (synchronous_commit == "off")
    return "synchronous_commit is off: a crash could lose keys that were answered with success";
  if (!require_standby) return {};
  if (synchronous_commit == "local" || synchronous_commit == "remote_write")
    return "synchronous_commit is " + synchronous_commit +
           ", which does not wait until the standby has a key on its disk; it must be on or "
           "remote_apply";
  if (standby_names.empty())
    return "synchronous_standby_names is empty: a failover could lose keys that were answered with "
           "success; configure a synchronous standby, or set "
           "hadoop.kms.trustee.require-synchronous-standby to false";
  return {};
}

Result<std::string> commit_problem(Connection& connection, bool require_standby) {
  auto rows = connection.run(
      "SELECT version(), COALESCE(current_setting('synchronous_commit', true), ''),"
      " current_setting('synchronous_standby_names', true),"
      " COALESCE(current_setting('fsync', true), '')");
  if (!rows.ok()) return std::move(rows).error();
  if (rows->text(0, 3) == "off")
    return not_ours("the database runs with fsync off: a crash could lose or damage all keys");
  const bool replicates = rows->is_null(0, 2) || rows->text(0, 0).find("-YB-") != std::string::npos;
  return commit_problem(rows->text(0, 1), rows->text(0, 2), require_standby && !replicates);
}

}  // namespace kms::postgres
