// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.h"
#include "core/secret.h"

namespace kms::jceks {

// Material for a new key, as KeyProvider.generateMaterial gets it from the JDK's KeyGenerator for
// the part of cipher before the first '/', with the sizes and refusals of OpenJDK 17:
// unknown_cipher without a message, invalid_key_length in Java's words. Some generators make keys
// of another length than asked (DES with its parity bits); the caller's check of the length refuses
// those, as in Java.
Result<Secret> generate_material(std::string_view cipher, std::int32_t bits);

// "Wrong key length. Required 128, but got 120", or no objection.
Result<void> check_length(std::int32_t bits, const Secret& material);

}  // namespace kms::jceks
