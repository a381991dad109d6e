// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/seal_walk.h"

#include "core/clock.h"
#include "keystore/postgres/statements.h"

namespace kms::postgres {
namespace {

constexpr std::int64_t kStatementMs = 60000;

}  // namespace

Result<std::unique_ptr<SealTool>> SealTool::open(const std::string& uri,
                                                 const TrusteeOptions& options, Logger& logger) {
  auto access = store_access(uri, options);
  if (!access.ok()) return std::move(access).error();
  access->server.timeout_ms = static_cast<int>(kStatementMs);
  std::unique_ptr<SealTool> tool(new SealTool(std::move(*access)));
  KMS_TRY(tool->reopen());
  if (seal::Hsm* hsm = tool->access_.seal->hsm(); hsm != nullptr) {
    KMS_TRY(tool->access_.seal->prove(tool->records_, options.user));  // before there are threads
    hsm->start(logger);
  }
  return tool;
}

SealTool::~SealTool() {
  if (seal::Hsm* hsm = access_.seal->hsm(); hsm != nullptr) hsm->stop();
  pool_.close();
}

Result<void> SealTool::reopen() {
  return read([this](Connection& connection) -> Result<void> {
    auto records = read_seal_records(connection);
    if (!records.ok()) return std::move(records).error();
    records_ = std::move(*records);
    auto keys = access_.seal->open(records_);
    if (!keys.ok()) return std::move(keys).error();
    keys_ = std::move(*keys);
    return {};
  });
}

Result<void> SealTool::read(const Pool::Work& work) {
  return pool_.read(steady_ms() + kStatementMs, work);
}

Result<void> SealTool::transaction(const Pool::Work& work) {
  return pool_.transaction(steady_ms() + kStatementMs, work,
                           [](Connection&) -> Result<bool> { return false; });
}

Result<void> SealTool::each_key(const std::string& skip, const KeyRows& use) {
  std::string after;  // no name is empty
  for (;;) {
    std::vector<KeyRow> part;
    KMS_TRY(read([&](Connection& connection) -> Result<void> {
      part.clear();
      auto rows = connection.run("SELECT " KMS_KEY_COLUMNS
                                 " FROM kms_key k WHERE k.seal_id <> $1 AND k.name > $2"
                                 " ORDER BY k.name LIMIT 100",
                                 Params().text(skip).text(after));
      if (!rows.ok()) return std::move(rows).error();
      for (int i = 0; i < rows->size(); ++i) part.push_back(key_row(*rows, i));
      return {};
    }));
    if (part.empty()) return {};
    after = part.back().name;
    KMS_TRY(use(part));
  }
}

// The keys are looked up for one page of versions: a join of the whole tables would begin with the
// first key for each page. A version without its key is passed over.
Result<void> SealTool::each_version(const std::string& skip, const VersionRows& use) {
  std::string after;
  std::int64_t number = -1;
  for (bool more = true; more;) {
    std::vector<Version> part;
    KMS_TRY(read([&](Connection& connection) -> Result<void> {
      part.clear();
      auto rows = connection.run(
          "SELECT " KMS_KEY_COLUMNS
          ", v.version, v.created_ms, v.sealed, v.wrapped_key, v.seal_id, v.name"
          " FROM (SELECT name, version, created_ms, sealed, wrapped_key, seal_id"
          " FROM kms_key_version WHERE seal_id <> $1 AND (name, version) > ($2, $3)"
          " ORDER BY name, version LIMIT 100) AS v LEFT JOIN kms_key k ON k.name = v.name"
          " ORDER BY v.name, v.version",
          Params().text(skip).text(after).number(number));
      if (!rows.ok()) return std::move(rows).error();
      for (int i = 0; i < rows->size(); ++i)
        if (!rows->is_null(i, 0))
          part.push_back({key_row(*rows, i), version_row(*rows, i, kKeyColumns)});
      more = rows->size() > 0;
      if (!more) return {};
      after = rows->text(rows->size() - 1, kKeyColumns + 5);
      number = rows->number(rows->size() - 1, kKeyColumns);
      return {};
    }));
    if (!part.empty()) KMS_TRY(use(part));
  }
  return {};
}

Result<void> SealTool::each_record(const std::string& skip, const RecordRows& use) {
  std::string after;  // no kind is empty
  std::int64_t number = 0;
  for (;;) {
    std::vector<RecordRow> part;
    KMS_TRY(read([&](Connection& connection) -> Result<void> {
      part.clear();
      auto rows =
          connection.run("SELECT " KMS_RECORD_COLUMNS
                         ", kind FROM kms_record WHERE seal_id <> $1 AND (kind, number) > ($2, $3)"
                         " ORDER BY kind, number LIMIT 100",
                         Params().text(skip).text(after).number(number));
      if (!rows.ok()) return std::move(rows).error();
      for (int i = 0; i < rows->size(); ++i)
        part.push_back(record_row(*rows, i, rows->text(i, kRecordColumns)));
      return {};
    }));
    if (part.empty()) return {};
    after = part.back().kind;
    number = part.back().number;
    KMS_TRY(use(part));
  }
}

Result<std::int64_t> SealTool::count(const std::string& skip) {
  std::int64_t all = 0;
  KMS_TRY(read([&](Connection& connection) -> Result<void> {
    auto counts = count_sealed_rows(connection);
    if (!counts.ok()) return std::move(counts).error();
    all = 0;
    for (const SealedRows& each : *counts)
      if (each.id != skip) all += each.rows;
    return {};
  }));
  return all;
}

}  // namespace kms::postgres
