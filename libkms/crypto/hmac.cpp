// SPDX-License-Identifier: Apache-2.0
#include "crypto/hmac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>
#include <string>
#include <tuple>

namespace kms {
namespace {

struct MacFree {
  void operator()(EVP_MAC* m) const { EVP_MAC_free(m); }
};
struct ContextFree {
  void operator()(EVP_MAC_CTX* c) const { EVP_MAC_CTX_free(c); }
};

// Fetching the MAC and its digest takes locks in libcrypto, so each thread does it once. The key is
// given anew for each text: early releases of OpenSSL 3.0 do not start over with the key they have.
struct ThreadMac {
  std::unique_ptr<EVP_MAC, MacFree> mac{EVP_MAC_fetch(nullptr, "HMAC", nullptr)};
  std::unique_ptr<EVP_MAC_CTX, ContextFree> context{EVP_MAC_CTX_new(mac.get())};

  explicit ThreadMac(const char* digest_name) {
    std::string digest(digest_name);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_end()};
    if (context && EVP_MAC_CTX_set_params(context.get(), params) != 1) context.reset();
  }
};

template <std::size_t size>
Result<std::array<std::uint8_t, size>> compute(const ThreadMac& mac, ByteView key, ByteView text) {
  EVP_MAC_CTX* context = mac.context.get();
  std::array<std::uint8_t, size> out;
  std::size_t written = 0;
  if (context == nullptr || key.empty() ||
      EVP_MAC_init(context, key.data(), key.size(), nullptr) != 1 ||
      EVP_MAC_update(context, text.data(), text.size()) != 1 ||
      EVP_MAC_final(context, out.data(), &written, out.size()) != 1 || written != out.size())
    return Error(ErrorKind::internal, "HMAC failed in OpenSSL");
  return out;
}

}  // namespace

Result<Sha256Mac> hmac_sha256(ByteView key, ByteView text) {
  thread_local const ThreadMac mac("SHA256");
  return compute<std::tuple_size_v<Sha256Mac>>(mac, key, text);
}

Result<Sha1Mac> hmac_sha1(ByteView key, ByteView text) {
  thread_local const ThreadMac mac("SHA1");
  return compute<std::tuple_size_v<Sha1Mac>>(mac, key, text);
}

}  // namespace kms
