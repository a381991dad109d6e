// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "core/bytes.h"
#include "core/result.h"

namespace kms {

using Sha256Mac = std::array<std::uint8_t, 32>;
using Sha1Mac = std::array<std::uint8_t, 20>;

// Thread-safe; each uses a MAC context kept for each thread, so it fetches nothing once warm. The
// key must not be empty.
Result<Sha256Mac> hmac_sha256(ByteView key, ByteView text);
// For delegation tokens only: what every Hadoop client and server has agreed on for them.
Result<Sha1Mac> hmac_sha1(ByteView key, ByteView text);

}  // namespace kms
