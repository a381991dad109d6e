// SPDX-License-Identifier: Apache-2.0
// Records: what the nodes share beside keys. They go the way of keys: into memory by need, out of
// it by the log of changes.
#include "keystore/postgres/record_table.h"

#include <mutex>

#include "core/clock.h"
#include "keystore/postgres/statements.h"
#include "keystore/postgres/write.h"

namespace kms::postgres {
namespace {

constexpr std::size_t kMostInMemory = 20000;
constexpr std::int64_t kAtOnce = 1000;  // removed by one statement
constexpr std::int64_t kRemoveMs = 5000;
const Approval kNobodyAsks;

std::string record_name(std::string_view kind, std::int64_t number) {
  return std::string(kind) + " " + std::to_string(number);
}

Params params_of(const RecordRow& row) {
  Params params;
  params.text(row.kind).number(row.number).number(row.expires_ms).number(row.revision);
  params.bytes(row.sealed).bytes(row.wrapped_key).text(row.seal_id);
  return params;
}

Result<RecordPtr> usable(const CachedRecordPtr& found) {
  if (found == nullptr) return RecordPtr();
  if (found->broken.has_value()) return *found->broken;
  return found->record;
}

}  // namespace

Result<Rows> insert_record(Connection& connection, const RecordRow& row) {
  return connection.run(
      "INSERT INTO kms_record (kind, number, expires_ms, revision, sealed, wrapped_key, seal_id)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7)",
      params_of(row));
}

CachedRecordPtr RecordCache::find(std::uint64_t hash, std::string_view name) const {
  const std::shared_lock hold(mutex_);
  const auto at = records_.find(hash);
  return at != records_.end() && at->second->name == name ? at->second : nullptr;
}

// What expired stays until there is no room; then all begin anew.
void RecordCache::put(std::uint64_t hash, CachedRecordPtr record, std::uint64_t read_at_epoch) {
  const std::unique_lock hold(mutex_);
  if (drops_.since(hash, read_at_epoch)) return;
  if (records_.size() >= kMostInMemory) records_.clear();
  records_[hash] = std::move(record);
}

void RecordCache::drop(std::uint64_t hash) {
  const std::unique_lock hold(mutex_);
  records_.erase(hash);
  drops_.one(hash, epoch_.fetch_add(1, std::memory_order_acq_rel) + 1);
}

void RecordCache::drop_all() {
  const std::unique_lock hold(mutex_);
  records_.clear();
  drops_.all(epoch_.fetch_add(1, std::memory_order_acq_rel) + 1);
}

CachedRecordPtr TrusteeStore::RecordTable::opened(const RecordRow& row, std::string name) const {
  auto made = std::make_shared<CachedRecord>();
  made->name = std::move(name);
  auto content = store_.vault()->open_record(row);
  if (content.ok())
    made->record = std::make_shared<const Record>(
        Record{row.number, row.expires_ms, row.revision, std::move(*content)});
  else
    made->broken = content.error();
  return made;
}

// Damage is said once, and kept, as with keys.
Result<CachedRecordPtr> TrusteeStore::RecordTable::load(std::string_view kind, std::int64_t number,
                                                        const std::string& name) {
  CachedRecordPtr made;
  const std::uint64_t epoch = cache_.epoch();
  KMS_TRY(store_.pool_.read(store_.deadline(), [&](Connection& connection) -> Result<void> {
    made = nullptr;
    auto rows = connection.run("SELECT " KMS_RECORD_COLUMNS
                               " FROM kms_record WHERE kind = $1 AND number = $2",
                               Params().text(kind).number(number));
    if (!rows.ok()) return std::move(rows).error();
    if (rows->size() == 0) return {};
    store_.know_seals(connection, *rows, {kRecordSeal});
    made = opened(record_row(*rows, 0, kind), name);
    if (made->broken.has_value() && made->broken->kind == ErrorKind::unavailable)
      return *made->broken;
    return {};
  }));
  if (made == nullptr) return made;
  if (made->broken.has_value()) (void)store_.damaged(*made->broken);
  cache_.put(name_hash(name), made, epoch);
  return made;
}

Result<RecordPtr> TrusteeStore::RecordTable::find(std::string_view kind, std::int64_t number) {
  KMS_TRY(store_.sync());
  const std::string name = record_name(kind, number);
  if (const auto known = cache_.find(name_hash(name), name)) return usable(known);
  auto loaded = load(kind, number, name);
  if (!loaded.ok()) return std::move(loaded).error();
  return usable(*loaded);
}

Result<RecordPtr> TrusteeStore::RecordTable::read(std::string_view kind, std::int64_t number) {
  auto loaded = load(kind, number, record_name(kind, number));
  if (!loaded.ok()) return std::move(loaded).error();
  return usable(*loaded);
}

Result<std::vector<RecordPtr>> TrusteeStore::RecordTable::read_all(std::string_view kind) {
  std::vector<RecordPtr> found;
  KMS_TRY(store_.pool_.read(store_.deadline(), [&](Connection& connection) -> Result<void> {
    found.clear();
    auto rows = connection.run("SELECT " KMS_RECORD_COLUMNS
                               " FROM kms_record WHERE kind = $1 ORDER BY number",
                               Params().text(kind));
    if (!rows.ok()) return std::move(rows).error();
    store_.know_seals(connection, *rows, {kRecordSeal});
    for (int i = 0; i < rows->size(); ++i) {
      const auto one = opened(record_row(*rows, i, kind), {});
      if (!one->broken.has_value())
        found.push_back(one->record);
      else if (one->broken->kind == ErrorKind::unavailable)
        return *one->broken;
      else
        (void)store_.damaged(*one->broken);
    }
    return {};
  }));
  return found;
}

Result<bool> TrusteeStore::RecordTable::change(std::string name, const Change& statement) {
  bool too_late = false;
  Write write(store_, std::move(name), kNobodyAsks);
  auto done = write.run([&](Connection& connection) -> Result<VersionPtr> {
    auto rows = statement(connection, write);
    too_late =
        (rows.ok() && rows->changed() == 0) || (!rows.ok() && connection.fault() == Fault::exists);
    if (too_late) return Error(ErrorKind::io, "Somebody else was first");
    if (!rows.ok()) return std::move(rows).error();
    return VersionPtr();
  });
  if (!done.ok() && too_late) return false;
  if (!done.ok()) return std::move(done).error();
  return true;
}

Result<bool> TrusteeStore::RecordTable::put(std::string_view kind, const Record& record) {
  return change(
      record_name(kind, record.number), [&](Connection& connection, Write& write) -> Result<Rows> {
        RecordRow row;
        row.kind = kind;
        row.number = record.number;
        row.expires_ms = record.expires_ms;
        row.revision = record.revision + 1;
        if (auto sealed = store_.vault()->seal_record(row, record.content); !sealed.ok())
          return std::move(sealed).error();
        write.sealed_by(row.seal_id);
        if (record.revision == 0) return insert_record(connection, row);
        return connection.run(
            "UPDATE kms_record SET expires_ms = $3, revision = $4, sealed = $5, wrapped_key = $6,"
            " seal_id = $7 WHERE kind = $1 AND number = $2 AND revision = $8",
            params_of(row).number(record.revision));
      });
}

Result<bool> TrusteeStore::RecordTable::remove(std::string_view kind, std::int64_t number) {
  return change(record_name(kind, number), [&](Connection& connection, Write&) {
    return connection.run("DELETE FROM kms_record WHERE kind = $1 AND number = $2",
                          Params().text(kind).number(number));
  });
}

// The date is asked for twice, since a row that is waited for may have a new one.
Result<std::size_t> TrusteeStore::RecordTable::remove_expired(std::string_view kind,
                                                              std::int64_t before_ms) {
  std::size_t removed = 0;
  const std::int64_t end = steady_ms() + kRemoveMs;
  for (std::int64_t last = kAtOnce; last == kAtOnce && steady_ms() < end;) {
    KMS_TRY(store_.pool_.transaction(
        store_.deadline(),
        [&](Connection& connection) -> Result<void> {
          auto rows = connection.run(
              "DELETE FROM kms_record WHERE kind = $1 AND expires_ms < $2 AND number IN"
              " (SELECT number FROM kms_record WHERE kind = $1 AND expires_ms < $2 LIMIT $3)",
              Params().text(kind).number(before_ms).number(kAtOnce));
          if (!rows.ok()) return std::move(rows).error();
          last = rows->changed();
          return {};
        },
        [](Connection&) { return Result<bool>(false); }));
    removed += static_cast<std::size_t>(last);
  }
  return removed;
}

// After a failure that leaves it open some numbers are left out.
Result<std::int64_t> TrusteeStore::RecordTable::take_numbers(std::string_view kind,
                                                             std::int64_t count) {
  std::int64_t end = 0;
  KMS_TRY(store_.pool_.transaction(
      store_.deadline(),
      [&](Connection& connection) -> Result<void> {
        auto rows = connection.run(
            "INSERT INTO kms_counter (name, value) VALUES ($1, $2::bigint) ON CONFLICT (name)"
            " DO UPDATE SET value = kms_counter.value + $2::bigint RETURNING value",
            Params().text(kind).number(count));
        if (!rows.ok()) return std::move(rows).error();
        if (rows->size() != 1) return Error(ErrorKind::corrupt, "kms_counter gave no number");
        end = rows->number(0, 0);
        return {};
      },
      [](Connection&) { return Result<bool>(false); }));
  return end - count + 1;
}

}  // namespace kms::postgres
