// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms::seal {

inline constexpr std::size_t kAeadKeySize = 32;  // bytes

// AES-256-GCM of OpenSSL under a key of 32 bytes: a format byte, a random IV of 12 bytes, the
// ciphertext, a tag of 16 bytes. bound is authenticated and not stored. Thread-safe.
Result<Bytes> aead_seal(ByteView key, ByteView bound, ByteView plain);
// ErrorKind::corrupt when the key, bound or a single bit of sealed is another one.
Result<Secret> aead_open(ByteView key, ByteView bound, ByteView sealed);

}  // namespace kms::seal
