// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms {

// Wrapping of data encryption keys as Hadoop's KeyProviderCryptoExtension does it: AES-CTR under
// the KEK, with every bit of the IV flipped as the initial counter block. No padding, no MAC; the
// EEK is as long as the DEK. The IV that travels is the unflipped one.
inline constexpr std::size_t kEekIvSize = 16;

// out must be as long as in (in place is fine). Wrap and unwrap are the same operation. The KEK
// must have 16, 24 or 32 bytes and the IV 16; other sizes give ErrorKind::io with Java's message.
// Thread-safe; uses a cipher context kept for each thread, so it does not allocate once warm.
Result<void> eek_crypt(ByteView kek, ByteView iv, ByteView in, std::span<std::uint8_t> out);

}  // namespace kms
