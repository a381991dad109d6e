// SPDX-License-Identifier: Apache-2.0
#include "crypto/eek.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <climits>
#include <string>

namespace kms {
namespace {

struct CipherFree {
  void operator()(EVP_CIPHER* c) const { EVP_CIPHER_free(c); }
};
struct ContextFree {
  void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }
};

// Fetched once for each thread: EVP_CIPHER_fetch takes locks in libcrypto.
struct ThreadCiphers {
  std::unique_ptr<EVP_CIPHER, CipherFree> aes128{EVP_CIPHER_fetch(nullptr, "AES-128-CTR", nullptr)};
  std::unique_ptr<EVP_CIPHER, CipherFree> aes192{EVP_CIPHER_fetch(nullptr, "AES-192-CTR", nullptr)};
  std::unique_ptr<EVP_CIPHER, CipherFree> aes256{EVP_CIPHER_fetch(nullptr, "AES-256-CTR", nullptr)};
  std::unique_ptr<EVP_CIPHER_CTX, ContextFree> context{EVP_CIPHER_CTX_new()};

  const EVP_CIPHER* for_key(std::size_t bytes) const {
    switch (bytes) {
      case 16:
        return aes128.get();
      case 24:
        return aes192.get();
      case 32:
        return aes256.get();
      default:
        return nullptr;
    }
  }
};

}  // namespace

Result<void> eek_crypt(ByteView kek, ByteView iv, ByteView in, std::span<std::uint8_t> out) {
  thread_local ThreadCiphers ciphers;
  if (iv.size() != kEekIvSize) {
    return Error(
        ErrorKind::io,
        "java.security.InvalidAlgorithmParameterException: Wrong IV length: must be 16 bytes "
        "long");
  }
  const EVP_CIPHER* cipher = ciphers.for_key(kek.size());
  if (cipher == nullptr) {
    return Error(ErrorKind::io, "java.security.InvalidKeyException: Invalid AES key length: " +
                                    std::to_string(kek.size()) + " bytes");
  }
  if (in.size() > INT_MAX || out.size() != in.size())
    return Error(ErrorKind::invalid_argument, "Encrypted key material is too long");

  std::array<std::uint8_t, kEekIvSize> counter;
  for (std::size_t i = 0; i < kEekIvSize; ++i) counter[i] = static_cast<std::uint8_t>(~iv[i]);

  EVP_CIPHER_CTX* ctx = ciphers.context.get();
  int written = 0;
  const bool done = EVP_EncryptInit_ex2(ctx, cipher, kek.data(), counter.data(), nullptr) == 1 &&
                    (in.empty() || EVP_EncryptUpdate(ctx, out.data(), &written, in.data(),
                                                     static_cast<int>(in.size())) == 1);
  // The key schedule must not outlive the call in a thread that may next serve somebody else.
  EVP_CIPHER_CTX_reset(ctx);
  if (!done || static_cast<std::size_t>(written) != in.size())
    return Error(ErrorKind::io, "AES-CTR failed in OpenSSL");
  return {};
}

}  // namespace kms
