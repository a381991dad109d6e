// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "keystore/postgres/pool.h"
#include "keystore/postgres/rows.h"
#include "keystore/postgres/store.h"
#include "keystore/postgres/trustee_seal.h"

namespace kms::postgres {

// A database as a tool works on it: one connection, each statement with a minute.
class SealTool {
 public:
  // Opens the keys of the store, and connects to the token where one holds them.
  static Result<std::unique_ptr<SealTool>> open(const std::string& uri,
                                                const TrusteeOptions& options, Logger& logger);
  ~SealTool();

  Result<void> read(const Pool::Work& work);
  // work may run more than once, also after it was carried out.
  Result<void> transaction(const Pool::Work& work);

  // Rows of the store in parts of a hundred. skip: a seal id whose rows are left out; empty: all.
  using KeyRows = std::function<Result<void>(std::vector<KeyRow>&)>;
  Result<void> each_key(const std::string& skip, const KeyRows& use);
  struct Version {
    KeyRow key;
    VersionRow version;
  };
  using VersionRows = std::function<Result<void>(std::vector<Version>&)>;
  Result<void> each_version(const std::string& skip, const VersionRows& use);
  using RecordRows = std::function<Result<void>(std::vector<RecordRow>&)>;
  Result<void> each_record(const std::string& skip, const RecordRows& use);
  Result<std::int64_t> count(const std::string& skip);

  const StoreAccess& access() const { return access_; }
  const std::vector<seal::KeyRecord>& records() const { return records_; }
  const seal::KeySet& keys() const { return *keys_; }
  std::shared_ptr<const seal::KeySet> shared_keys() const { return keys_; }
  Result<void> reopen();  // after a change of the record

 private:
  explicit SealTool(StoreAccess access)
      : access_(std::move(access)),
        pool_(access_.server, 1, [](Connection& c) { return check_schema(c); }) {}

  const StoreAccess access_;
  Pool pool_;
  std::vector<seal::KeyRecord> records_;
  std::shared_ptr<const seal::KeySet> keys_;
};

}  // namespace kms::postgres
