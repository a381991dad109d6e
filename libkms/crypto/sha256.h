// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "core/bytes.h"
#include "core/result.h"

namespace kms {

using Sha256Digest = std::array<std::uint8_t, 32>;

// Thread-safe; uses a digest that each thread fetches once.
Result<Sha256Digest> sha256(ByteView text);

}  // namespace kms
