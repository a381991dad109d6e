// SPDX-License-Identifier: Apache-2.0
#include "seal/aead.h"

#include <openssl/evp.h>

#include <algorithm>
#include <climits>
#include <memory>

#include "crypto/random.h"

namespace kms::seal {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kIvSize = 12, kTagSize = 16, kHead = 1 + kIvSize;

struct CipherFree {
  void operator()(EVP_CIPHER* c) const { EVP_CIPHER_free(c); }
};
struct ContextFree {
  void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextFree>;

// Fetched once for each thread: EVP_CIPHER_fetch takes locks in libcrypto.
const EVP_CIPHER* gcm() {
  thread_local const std::unique_ptr<EVP_CIPHER, CipherFree> cipher(
      EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  return cipher.get();
}

Error failed() {
  return Error(ErrorKind::internal, "AES-GCM failed in OpenSSL");
}

bool usable(ByteView key, ByteView bound, std::size_t text) {
  return key.size() == kAeadKeySize && bound.size() <= INT_MAX && text <= INT_MAX;
}

}  // namespace

Result<Bytes> aead_seal(ByteView key, ByteView bound, ByteView plain) {
  if (!usable(key, bound, plain.size())) return failed();
  Bytes out(kHead + plain.size() + kTagSize);
  out[0] = kFormat;
  KMS_TRY(fill_public({out.data() + 1, kIvSize}));
  const Context context(EVP_CIPHER_CTX_new());
  std::uint8_t* body = out.data() + kHead;
  int n = 0;
  const bool done =
      context != nullptr && gcm() != nullptr &&
      EVP_EncryptInit_ex2(context.get(), gcm(), key.data(), out.data() + 1, nullptr) == 1 &&
      EVP_EncryptUpdate(context.get(), nullptr, &n, bound.data(), static_cast<int>(bound.size())) ==
          1 &&
      EVP_EncryptUpdate(context.get(), body, &n, plain.data(), static_cast<int>(plain.size())) ==
          1 &&
      EVP_EncryptFinal_ex(context.get(), body + plain.size(), &n) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, body + plain.size()) == 1;
  if (!done) return failed();
  return out;
}

Result<Secret> aead_open(ByteView key, ByteView bound, ByteView sealed) {
  const Error wrong(ErrorKind::corrupt, "it does not fit its seal");
  if (sealed.size() < kHead + kTagSize || sealed[0] != kFormat) return wrong;
  const std::size_t size = sealed.size() - kHead - kTagSize;
  if (!usable(key, bound, size)) return failed();
  Secret plain(size);
  Bytes tag(sealed.end() - kTagSize, sealed.end());
  const Context context(EVP_CIPHER_CTX_new());
  if (context == nullptr || gcm() == nullptr ||
      EVP_DecryptInit_ex2(context.get(), gcm(), key.data(), sealed.data() + 1, nullptr) != 1)
    return failed();
  int n = 0;
  std::uint8_t rest[16];
  const bool fits =
      EVP_DecryptUpdate(context.get(), nullptr, &n, bound.data(), static_cast<int>(bound.size())) ==
          1 &&
      EVP_DecryptUpdate(context.get(), plain.data(), &n, sealed.data() + kHead,
                        static_cast<int>(size)) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), rest, &n) == 1;
  if (!fits) return wrong;
  return plain;
}

}  // namespace kms::seal
