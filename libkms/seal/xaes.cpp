// SPDX-License-Identifier: Apache-2.0
#include "seal/xaes.h"

#include <algorithm>

namespace kms::seal {
namespace {

constexpr std::size_t kBlock = 16;

// CMAC's subkey of whole blocks (SP 800-38B, 6.1): the doubling in GF(2^128).
std::array<std::uint8_t, kBlock> doubled(ByteView block) {
  std::array<std::uint8_t, kBlock> out{};
  for (std::size_t i = 0; i < kBlock; ++i)
    out[i] = static_cast<std::uint8_t>(block[i] << 1 | (i + 1 < kBlock ? block[i + 1] >> 7 : 0));
  if ((block[0] & 0x80) != 0) out[kBlock - 1] ^= 0x87;
  return out;
}

}  // namespace

std::array<std::uint8_t, 32> xaes_blocks(ByteView first, ByteView nonce) {
  const auto subkey = doubled(first);
  std::array<std::uint8_t, 2 * kBlock> out{};
  for (std::uint8_t counter = 1; counter <= 2; ++counter) {
    std::uint8_t* block = out.data() + (counter - 1) * kBlock;
    block[1] = counter;
    block[2] = 'X';
    std::copy_n(nonce.begin(), kXaesNonceSize, block + 4);
    for (std::size_t i = 0; i < kBlock; ++i) block[i] ^= subkey[i];
  }
  return out;
}

}  // namespace kms::seal
