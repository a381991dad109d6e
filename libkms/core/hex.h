// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/bytes.h"

namespace kms {

// Two lower-case digits for each byte, to out, which has room for them.
inline void write_hex(ByteView bytes, char* out) noexcept {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const std::uint8_t b : bytes) {
    *out++ = kDigits[b >> 4];
    *out++ = kDigits[b & 15];
  }
}

inline std::string hex_text(ByteView bytes) {
  std::string out(2 * bytes.size(), '\0');
  write_hex(bytes, out.data());
  return out;
}

}  // namespace kms
