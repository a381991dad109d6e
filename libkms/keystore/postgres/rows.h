// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/result.h"
#include "keystore/keystore.h"
#include "seal/keyring.h"

namespace kms::postgres {

// A row of kms_key. Everything but the seal is readable in the database and bound by tag, which is
// made under a data key of the row's own.
struct KeyRow {
  std::string name;
  std::string incarnation;  // of this key: another key of the same name has another one
  std::string cipher;
  std::int32_t bit_length = 0;
  std::string details;  // JSON: description, attributes
  std::int64_t created_ms = 0;
  std::int32_t versions = 0;
  std::string state;  // by key_state_name()
  std::optional<std::int64_t> deleted_ms;
  std::int64_t revision = 0;  // counts the changes of the row
  Bytes wrapped_key;
  std::string seal_id;
  Bytes tag;
};

// A row of kms_key_version.
struct VersionRow {
  std::int32_t version = 0;
  std::int64_t created_ms = 0;
  Bytes sealed;       // the material
  Bytes wrapped_key;  // the data key that sealed it
  std::string seal_id;
};

// A row of kms_record. The data key is bound to kind and number, the content to all but the seal.
struct RecordRow {
  std::string kind;
  std::int64_t number = 0;
  std::int64_t expires_ms = 0;
  std::int64_t revision = 0;
  Bytes sealed;
  Bytes wrapped_key;
  std::string seal_id;
};

std::string details_of(const std::optional<std::string>& description,
                       const std::map<std::string, std::string>& attributes);
Result<KeyState> state_of(const KeyRow& row);  // corrupt: none that this program knows
Result<MetadataPtr> metadata_of(const KeyRow& row);

// Seals rows and opens them. Errors of the open functions name the row; corrupt when it is not as
// it was sealed, unavailable when the sealing key is out of reach.
class Vault {
 public:
  explicit Vault(std::shared_ptr<const seal::KeySet> keys) : keys_(std::move(keys)) {}
  explicit Vault(std::unique_ptr<seal::SealingKey> key)
      : keys_(std::make_shared<seal::KeySet>(std::move(key))) {}

  const std::string& seal_id() const { return keys_->id(); }
  bool has(const std::string& seal_id) const { return keys_->has(seal_id); }
  // Gives the row a data key where it has none, and its tag.
  Result<void> seal(KeyRow& row) const;
  Result<void> check(const KeyRow& row) const;
  Result<VersionRow> seal_version(const KeyRow& row, std::int32_t number, std::int64_t created_ms,
                                  const Secret& material) const;
  Result<Secret> open_version(const KeyRow& row, const VersionRow& version) const;
  // Fills in the seal.
  Result<void> seal_record(RecordRow& row, const Secret& content) const;
  Result<Secret> open_record(const RecordRow& row) const;
  // Wraps the data key of what another key sealed by the current one. Nothing else changes.
  Result<void> rewrap(KeyRow& row) const;
  Result<void> rewrap_version(const KeyRow& row, VersionRow& version) const;
  Result<void> rewrap_record(RecordRow& row) const;

 private:
  Result<void> rewrap_key(Bytes& wrapped, std::string& seal_id, ByteView bound) const;
  std::shared_ptr<const seal::KeySet> keys_;
};

}  // namespace kms::postgres
