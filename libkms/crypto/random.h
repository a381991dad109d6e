// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "core/result.h"

namespace kms {

// Fills out from OpenSSL's CSPRNG. fill_private is for keys and other secrets, fill_public for what
// is seen on the wire (IVs, salts). OpenSSL reseeds by itself after a fork.
Result<void> fill_private(std::span<std::uint8_t> out);
Result<void> fill_public(std::span<std::uint8_t> out);

}  // namespace kms
