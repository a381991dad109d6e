// SPDX-License-Identifier: Apache-2.0
#include "crypto/random.h"

#include <openssl/rand.h>

namespace kms {
namespace {

Result<void> checked(int rc) {
  if (rc != 1) return Error(ErrorKind::internal, "The random generator of OpenSSL failed");
  return {};
}

}  // namespace

Result<void> fill_private(std::span<std::uint8_t> out) {
  return checked(RAND_priv_bytes(out.data(), static_cast<int>(out.size())));
}

Result<void> fill_public(std::span<std::uint8_t> out) {
  return checked(RAND_bytes(out.data(), static_cast<int>(out.size())));
}

}  // namespace kms
