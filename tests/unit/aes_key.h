// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "keystore/keystore.h"

namespace unit {

inline kms::KeyOptions aes(std::int32_t bits = 128) {
  kms::KeyOptions options;
  options.cipher = "AES/CTR/NoPadding";
  options.bit_length = bits;
  return options;
}

}  // namespace unit
