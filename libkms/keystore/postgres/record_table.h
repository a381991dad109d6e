// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "keystore/postgres/store.h"
#include "records/records.h"

namespace kms::postgres {

// A record as it was read, or why it cannot be opened.
struct CachedRecord {
  std::string name;
  RecordPtr record;
  std::optional<Error> broken;
};
using CachedRecordPtr = std::shared_ptr<const CachedRecord>;

// The records that a process has in memory, by the hash of their names. Records that are not there
// are not kept. Thread-safe.
class RecordCache {
 public:
  CachedRecordPtr find(std::uint64_t hash, std::string_view name) const;
  std::uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  // Keeps what was read since epoch, unless the record was dropped meanwhile.
  void put(std::uint64_t hash, CachedRecordPtr record, std::uint64_t read_at_epoch);
  void drop(std::uint64_t hash);
  void drop_all();

 private:
  std::atomic<std::uint64_t> epoch_{1};
  mutable std::shared_mutex mutex_;  // guards what follows
  std::unordered_map<std::uint64_t, CachedRecordPtr> records_;
  Drops drops_;
};

Result<Rows> insert_record(Connection& connection, const RecordRow& row);

// The rows of kms_record.
class TrusteeStore::RecordTable final : public Records {
 public:
  explicit RecordTable(TrusteeStore& store) : store_(store) {}

  Health condition() const noexcept override { return store_.condition(); }
  Result<RecordPtr> find(std::string_view kind, std::int64_t number) override;
  Result<RecordPtr> read(std::string_view kind, std::int64_t number) override;
  Result<std::vector<RecordPtr>> read_all(std::string_view kind) override;
  Result<bool> put(std::string_view kind, const Record& record) override;
  Result<bool> remove(std::string_view kind, std::int64_t number) override;
  Result<std::size_t> remove_expired(std::string_view kind, std::int64_t before_ms) override;
  Result<std::int64_t> take_numbers(std::string_view kind, std::int64_t count) override;

  RecordCache& cache() { return cache_; }

 private:
  Result<CachedRecordPtr> load(std::string_view kind, std::int64_t number, const std::string& name);
  CachedRecordPtr opened(const RecordRow& row, std::string name) const;
  // One statement that must change one row; false when there is none for it.
  using Change = std::function<Result<Rows>(Connection&, Write&)>;
  Result<bool> change(std::string name, const Change& statement);

  TrusteeStore& store_;
  RecordCache cache_;
};

}  // namespace kms::postgres
