// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/secret.h"

namespace kms {

// URL-safe alphabet without padding: the form of every material and iv in a KMS answer.
std::string base64url_encode(ByteView bytes);
// The same, for bytes that are secret; length is that of the text.
Secret base64url_encode_secret(ByteView bytes);
// The same into place; out has room for base64url_length(bytes.size()) characters.
void base64url_encode_to(ByteView bytes, char* out);
inline std::size_t base64url_length(std::size_t bytes) {
  return (bytes * 4 + 2) / 3;
}
// Standard alphabet with padding: the form of the cookie signature.
std::string base64_encode(ByteView bytes);

// The lenient decoder of Hadoop's server: both alphabets may be mixed, other characters are
// skipped, decoding ends at the first '=', a single trailing sextet is dropped. It never fails.
Bytes base64_decode_lenient(std::string_view text);
Secret base64_decode_secret(std::string_view text);

}  // namespace kms
