// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/file_io.h"
#include "core/result.h"
#include "keystore/keystore.h"
#include "pkcs11/keys.h"

namespace kms::pkcs11 {

// A version as the rest of the program passes it around; its material stays empty.
struct TokenVersion : KeyVersion {
  std::int32_t number = 0;
  std::shared_ptr<const KeyRef> key;
  std::int64_t created_ms = 0;  // 0: not known, of one that is outside
  // It was made in another keystore, and its material is there: key has no id, but proves what is
  // found. It opens EEKs, and makes none.
  bool outside() const noexcept { return key->id.empty(); }
};
using TokenVersionPtr = std::shared_ptr<const TokenVersion>;

struct KeyRecord {
  MetadataPtr metadata;
  std::vector<TokenVersionPtr> versions;  // oldest first
  // Of a key that came from another keystore: how many versions it had there, so the number of the
  // first that the HSM made. 0: the key was made here.
  std::int32_t adopted = 0;
};

// An object that is about to be made or destroyed in the token: what a crash leaves of it is found
// again.
struct Pending {
  std::string id, label;
  bool destroy = false;
  std::int64_t since_ms = 0;
};

// One state of the file. Immutable once it is published.
struct State {
  std::string store_id;  // kStoreIdSize raw bytes, with which the ids of its objects begin
  std::map<std::string, KeyRecord, std::less<>> keys;
  std::vector<Pending> pending;
  FileId file;

  const KeyRecord* find(std::string_view folded_name) const {
    const auto it = keys.find(folded_name);
    return it == keys.end() ? nullptr : &it->second;
  }
  std::size_t outside() const noexcept;  // versions, of all keys
};
using StatePtr = std::shared_ptr<const State>;

// The JSON of a file. Errors: corrupt for what is no such JSON; invalid_argument for text that is
// not UTF-8.
Result<State> parse_state(ByteView text);
Result<std::string> encode_state(const State& state);

Result<State> empty_state();                         // with a new store id
Result<std::string> new_key_id(const State& state);  // unlike any before

}  // namespace kms::pkcs11
