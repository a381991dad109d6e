// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/bytes.h"

// The objects of the token that are our keys. Every function works on a session of the caller's
// thread and returns what the library said.
namespace kms::pkcs11 {

inline constexpr std::size_t kStoreIdSize = 8;
inline constexpr std::size_t kKeyIdSize =
    16;  // of a key version the store's id and eight random bytes
inline constexpr std::size_t kBlock = 16;
inline constexpr std::size_t kCheckSize = 4;

// Which object is a key: CKA_ID and CKA_LABEL together. check is the beginning of the
// encryption of a block of zeros, so that another key in its place is noticed before it is used.
struct KeyRef {
  std::string id;     // raw bytes
  std::string label;  // of a key version NAME@N
  std::int32_t bits = 0;
  Bytes check;
};

struct Session {
  CK_FUNCTION_LIST* functions;
  CK_SESSION_HANDLE handle;
};

// Makes the key in the token, never to leave it, and fills key.check. Not permanent: for a trial,
// it goes with the session.
CK_RV generate_key(const Session& session, KeyRef& key, bool permanent = true);
// Whether there is a secret key of this id, ours or not.
CK_RV has_key(const Session& session, const std::string& id, bool& out);
// Finds the object and proves that it is this key: kKeyMissing, kKeyDiffers.
CK_RV find_key(const Session& session, const KeyRef& key, CK_OBJECT_HANDLE& out);
// kKeyMissing when it is gone already. An object of this id with another label stays: kKeyDiffers.
CK_RV destroy_key(const Session& session, const std::string& id, const std::string& label);
// size is a multiple of kBlock; out has room for it.
CK_RV encrypt_blocks(const Session& session, CK_OBJECT_HANDLE key, const std::uint8_t* in,
                     std::size_t size, std::uint8_t* out);

struct TokenKey {
  std::string id, label;  // empty where the token has none
  std::int32_t bits = 0;  // 0 where it does not tell, as of keys that were brought in
};
// Every AES key of the token.
CK_RV list_keys(const Session& session, std::vector<TokenKey>& out);

// Fills key.check of the key with this id, which is there.
CK_RV read_check(const Session& session, KeyRef& key);
// Whether the token says that it made the key of this id, and that it cannot have left it.
CK_RV never_outside(const Session& session, const std::string& id, bool& out);

}  // namespace kms::pkcs11
