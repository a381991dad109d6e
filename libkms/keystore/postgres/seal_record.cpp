// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/seal_record.h"

#include <algorithm>

#include "crypto/base64.h"
#include "crypto/random.h"

namespace kms::postgres {
namespace {

Result<void> done(const Result<Rows>& rows) {
  if (rows.ok()) return {};
  return const_cast<Result<Rows>&>(rows).error();
}

// Every shard's row stays locked until the commit. The lines let each process know.
Result<void> announce(Connection& connection) {
  Bytes random(16);
  KMS_TRY(fill_public(random));
  const std::string operation = base64url_encode(random);
  KMS_TRY(done(connection.run("UPDATE kms_change SET counter = counter + 1")));
  return done(
      connection.run("INSERT INTO kms_change_log (shard, counter, name, operation)"
                     " SELECT shard, counter, $1, $2 FROM kms_change",
                     Params().text(kSealChange).text(operation)));
}

}  // namespace

Result<std::vector<seal::KeyRecord>> read_seal_records(Connection& connection) {
  auto rows = connection.run(
      "SELECT seal_id, kind, parameters, state, created_ms FROM kms_seal ORDER BY created_ms,"
      " seal_id");
  if (!rows.ok()) return std::move(rows).error();
  std::vector<seal::KeyRecord> records;
  for (int i = 0; i < rows->size(); ++i)
    records.push_back({rows->text(i, 0), rows->text(i, 1), rows->text(i, 2),
                       rows->text(i, 3) == "current", rows->number(i, 4)});
  return records;
}

Result<std::shared_ptr<const seal::KeySet>> open_sealing_key(
    Connection& connection, const std::shared_ptr<seal::Keyring>& keyring) {
  auto records = read_seal_records(connection);
  if (!records.ok()) return std::move(records).error();
  return keyring->open(*records);
}

Result<void> add_seal_record(Connection& connection, const seal::KeyRecord& record) {
  KMS_TRY(announce(connection));
  KMS_TRY(done(connection.run(
      "INSERT INTO kms_seal (seal_id, kind, parameters, created_ms, state) VALUES ($1, $2, $3, $4,"
      " 'trusted')",
      Params()
          .text(record.id)
          .text(record.kind)
          .text(record.parameters)
          .number(record.created_ms))));
  if (!record.current) return {};
  return make_seal_current(connection, record.id);
}

Result<void> make_seal_current(Connection& connection, const std::string& id) {
  KMS_TRY(announce(connection));
  auto found = connection.run("SELECT seal_id FROM kms_seal WHERE seal_id = $1", Params().text(id));
  if (!found.ok()) return std::move(found).error();
  if (found->size() != 1)
    return Error(ErrorKind::invalid_argument, "the store does not trust the sealing key " + id);
  return done(connection.run(
      "UPDATE kms_seal SET state = CASE WHEN seal_id = $1 THEN 'current' ELSE 'trusted' END",
      Params().text(id)));
}

Result<void> remove_seal_record(Connection& connection, const std::string& id) {
  KMS_TRY(announce(connection));
  auto counts = count_sealed_rows(connection);
  if (!counts.ok()) return std::move(counts).error();
  for (const SealedRows& each : *counts)
    if (each.id == id)
      return Error(ErrorKind::invalid_argument, std::to_string(each.rows) +
                                                    " rows are still sealed by " + id +
                                                    ": run 'kmsctl seal rewrap' first");
  auto removed = connection.run("DELETE FROM kms_seal WHERE seal_id = $1 AND state <> 'current'",
                                Params().text(id));
  if (!removed.ok()) return std::move(removed).error();
  if (removed->changed() == 1) return {};
  return Error(ErrorKind::invalid_argument,
               id + " is not a trusted sealing key, or is the one that seals");
}

Result<std::vector<SealedRows>> count_sealed_rows(Connection& connection) {
  auto rows = connection.run(
      "SELECT seal_id, CAST(SUM(n) AS bigint) FROM ("
      " SELECT seal_id, COUNT(*) AS n FROM kms_key GROUP BY seal_id UNION ALL"
      " SELECT seal_id, COUNT(*) AS n FROM kms_key_version GROUP BY seal_id UNION ALL"
      " SELECT seal_id, COUNT(*) AS n FROM kms_record GROUP BY seal_id) AS s"
      " GROUP BY seal_id ORDER BY seal_id");
  if (!rows.ok()) return std::move(rows).error();
  std::vector<SealedRows> out;
  for (int i = 0; i < rows->size(); ++i) out.push_back({rows->text(i, 0), rows->number(i, 1)});
  return out;
}

}  // namespace kms::postgres
