// SPDX-License-Identifier: Apache-2.0
#include "auth/signature.h"

#include <openssl/evp.h>

#include "core/secret.h"

namespace kms {

bool signature_matches(ByteView secret, std::string_view text, std::string_view base64) {
  if (base64.size() != kSignatureChars) return false;
  const auto mac = hmac_sha256(secret, as_bytes(text));
  if (!mac.ok()) return false;
  // The texts are compared, as in Java: a decoder would take several texts for one signature.
  std::uint8_t right[kSignatureChars + 1];
  EVP_EncodeBlock(right, mac->data(), static_cast<int>(mac->size()));
  return equal_constant_time({right, kSignatureChars}, as_bytes(base64));
}

}  // namespace kms
