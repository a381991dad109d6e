// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

struct evp_cipher_ctx_st;

namespace kms {

// Wrapping of data encryption keys as Hadoop's KeyProviderCryptoExtension does it: AES-CTR under
// the KEK, with every bit of the IV flipped as the initial counter block. No padding, no MAC; the
// EEK is as long as the DEK. The IV that travels is the unflipped one.
inline constexpr std::size_t kEekIvSize = 16;

// Wraps and unwraps under one KEK, whose key schedule is set up once. Wrap and unwrap are the same
// operation. For the thread that made it; wiped with the object.
class EekCipher {
 public:
  // The KEK must have 16, 24 or 32 bytes; else ErrorKind::io with Java's message.
  static Result<EekCipher> create(ByteView kek);
  EekCipher(EekCipher&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}
  EekCipher& operator=(EekCipher&&) = delete;
  ~EekCipher();

  // out must be as long as in (in place is fine). The IV must have 16 bytes; else ErrorKind::io.
  Result<void> crypt(ByteView iv, ByteView in, std::span<std::uint8_t> out);

 private:
  explicit EekCipher(evp_cipher_ctx_st* context) : context_(context) {}
  evp_cipher_ctx_st* context_;  // of a pool of the thread
};

// For a KEK that only encrypts blocks, in an HSM: appends the counter blocks whose encryption is
// the keystream for size bytes under this IV, whole blocks. The IV must have 16 bytes; else
// ErrorKind::io with Java's message.
Result<void> append_eek_counters(ByteView iv, std::size_t size, Bytes& out);
// out = a XOR b, all of one length; in place is fine.
void eek_xor(ByteView a, ByteView b, std::span<std::uint8_t> out) noexcept;

// One use of an EekCipher. Thread-safe; does not allocate once the thread is warm.
Result<void> eek_crypt(ByteView kek, ByteView iv, ByteView in, std::span<std::uint8_t> out);

}  // namespace kms
