// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "core/bytes.h"
#include "crypto/hmac.h"

namespace kms {

// Standard base64 of an HMAC-SHA256: 44 characters.
inline constexpr std::size_t kSignatureChars = 44;

// Whether base64 is the signature of text by secret. Time depends on the lengths only.
bool signature_matches(ByteView secret, std::string_view text, std::string_view base64);

}  // namespace kms
