// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "keystore/postgres/connection.h"
#include "seal/keyring.h"

// kms_seal: which sealing keys a store trusts, and which of them seals. A row of the store names
// the key that its data key is wrapped by.
namespace kms::postgres {

// In the log of changes, the name that no key has: a change of kms_seal.
inline constexpr const char* kSealChange = "";

// Oldest first.
Result<std::vector<seal::KeyRecord>> read_seal_records(Connection& connection);
// The sealing keys of the store that the sources of the keyring are. Errors: as of Keyring::open().
Result<std::shared_ptr<const seal::KeySet>> open_sealing_key(
    Connection& connection, const std::shared_ptr<seal::Keyring>& keyring);

// The following are for the caller's transaction, of which they are the first statements. They wait
// for all changes of keys that are under way, and hold the later ones up until the commit.
//
// Adds the record, which becomes the current one where it says so.
Result<void> add_seal_record(Connection& connection, const seal::KeyRecord& record);
// Makes this one the one that seals.
Result<void> make_seal_current(Connection& connection, const std::string& id);
// Errors: invalid_argument for the current one, or while a row is still sealed by it.
Result<void> remove_seal_record(Connection& connection, const std::string& id);

// Rows that are sealed by each key, by id.
struct SealedRows {
  std::string id;
  std::int64_t rows = 0;
};
Result<std::vector<SealedRows>> count_sealed_rows(Connection& connection);

}  // namespace kms::postgres
