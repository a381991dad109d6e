// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "core/bytes.h"

// XAES-256-GCM of C2SP: AES-256-GCM with a nonce of 24 bytes, under a key that is derived for each
// message from the first half of the nonce by SP 800-108 in counter mode with CMAC. All that is
// asked of the key itself is the encryption of single blocks, which every token offers, and which
// says nothing of the key.
namespace kms::seal {

inline constexpr std::size_t kXaesNonceSize = 12;  // of the derivation; GCM has the other 12

// The two blocks whose encryptions, one after the other, are the derived key. first is the
// encryption of a block of zeros, from which CMAC makes its subkey.
std::array<std::uint8_t, 32> xaes_blocks(ByteView first, ByteView nonce);

}  // namespace kms::seal
