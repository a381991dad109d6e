// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "core/bytes.h"
#include "core/result.h"

namespace kms {

using Sha256Mac = std::array<std::uint8_t, 32>;

// HMAC-SHA256. Thread-safe; uses a MAC context kept for each thread, so it fetches nothing once
// warm. The key must not be empty.
Result<Sha256Mac> hmac_sha256(ByteView key, ByteView text);

}  // namespace kms
