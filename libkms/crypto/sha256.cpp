// SPDX-License-Identifier: Apache-2.0
#include "crypto/sha256.h"

#include <openssl/evp.h>

#include <memory>

namespace kms {
namespace {

struct DigestFree {
  void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
};

}  // namespace

Result<Sha256Digest> sha256(ByteView text) {
  thread_local const std::unique_ptr<EVP_MD, DigestFree> digest(
      EVP_MD_fetch(nullptr, "SHA256", nullptr));
  Sha256Digest out;
  unsigned int written = 0;
  if (!digest ||
      EVP_Digest(text.data(), text.size(), out.data(), &written, digest.get(), nullptr) != 1 ||
      written != out.size())
    return Error(ErrorKind::internal, "SHA-256 failed in OpenSSL");
  return out;
}

}  // namespace kms
