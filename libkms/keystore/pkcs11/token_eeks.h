// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "keystore/keystore.h"
#include "pkcs11/token.h"

namespace kms::pkcs11 {

// What wraps EEKs: a key of the token; or, of a version that was made before there was one,
// material that this process holds.
struct EekKey {
  std::shared_ptr<const KeyRef> in_token;  // null:
  std::shared_ptr<const Secret> software;

  std::size_t size() const;  // bytes; a DEK is as long as its KEK
};

// EEKs under such keys: the token encrypts counter blocks, all else is done here. Thread-safe.
class TokenEeks {
 public:
  explicit TokenEeks(Token& token) : token_(token) {}

  // Errors of all: those of Token::encrypt(); io with Java's words for an IV that is none.
  Result<std::vector<Eek>> make(const VersionPtr& kek, const EekKey& key, std::size_t count);
  Result<Secret> decrypt(const EekKey& key, ByteView iv, ByteView eek);
  Result<void> reencrypt(const EekKey& from, const EekKey& to, std::span<WrappedDek> eeks);
  // That the IVs are some, for a re-encryption that changes nothing.
  static Result<void> check(std::span<const WrappedDek> eeks);

 private:
  Result<Secret> stream(const EekKey& key, ByteView counters);
  Token& token_;
};

}  // namespace kms::pkcs11
