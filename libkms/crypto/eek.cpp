// SPDX-License-Identifier: Apache-2.0
#include "crypto/eek.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <climits>
#include <memory>
#include <string>
#include <vector>

namespace kms {
namespace {

struct CipherFree {
  void operator()(EVP_CIPHER* c) const { EVP_CIPHER_free(c); }
};
struct ContextFree {
  void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }
};

Error wrong_iv() {
  return Error(
      ErrorKind::io,
      "java.security.InvalidAlgorithmParameterException: Wrong IV length: must be 16 bytes long");
}

// Fetched once for each thread: EVP_CIPHER_fetch takes locks in libcrypto. Contexts are used again;
// a re-encryption has two at a time.
struct ThreadCiphers {
  std::unique_ptr<EVP_CIPHER, CipherFree> aes128{EVP_CIPHER_fetch(nullptr, "AES-128-CTR", nullptr)};
  std::unique_ptr<EVP_CIPHER, CipherFree> aes192{EVP_CIPHER_fetch(nullptr, "AES-192-CTR", nullptr)};
  std::unique_ptr<EVP_CIPHER, CipherFree> aes256{EVP_CIPHER_fetch(nullptr, "AES-256-CTR", nullptr)};
  std::vector<std::unique_ptr<EVP_CIPHER_CTX, ContextFree>> idle;

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

ThreadCiphers& ciphers() {
  thread_local ThreadCiphers mine;
  return mine;
}

}  // namespace

Result<EekCipher> EekCipher::create(ByteView kek) {
  ThreadCiphers& pool = ciphers();
  const EVP_CIPHER* cipher = pool.for_key(kek.size());
  if (cipher == nullptr) {
    return Error(ErrorKind::io, "java.security.InvalidKeyException: Invalid AES key length: " +
                                    std::to_string(kek.size()) + " bytes");
  }
  std::unique_ptr<EVP_CIPHER_CTX, ContextFree> context;
  if (pool.idle.empty()) {
    context.reset(EVP_CIPHER_CTX_new());
  } else {
    context = std::move(pool.idle.back());
    pool.idle.pop_back();
  }
  EekCipher made(context.release());
  if (made.context_ == nullptr ||
      EVP_EncryptInit_ex2(made.context_, cipher, kek.data(), nullptr, nullptr) != 1)
    return Error(ErrorKind::io, "AES-CTR failed in OpenSSL");
  return made;
}

EekCipher::~EekCipher() {
  if (context_ == nullptr) return;
  // The key schedule must not outlive the call in a thread that may next serve somebody else.
  EVP_CIPHER_CTX_reset(context_);
  ciphers().idle.emplace_back(context_);
}

Result<void> EekCipher::crypt(ByteView iv, ByteView in, std::span<std::uint8_t> out) {
  if (iv.size() != kEekIvSize) return wrong_iv();
  if (in.size() > INT_MAX || out.size() != in.size())
    return Error(ErrorKind::invalid_argument, "Encrypted key material is too long");

  std::array<std::uint8_t, kEekIvSize> counter;
  for (std::size_t i = 0; i < kEekIvSize; ++i) counter[i] = static_cast<std::uint8_t>(~iv[i]);
  int written = 0;
  const bool done = EVP_EncryptInit_ex2(context_, nullptr, nullptr, counter.data(), nullptr) == 1 &&
                    (in.empty() || EVP_EncryptUpdate(context_, out.data(), &written, in.data(),
                                                     static_cast<int>(in.size())) == 1);
  if (!done || static_cast<std::size_t>(written) != in.size())
    return Error(ErrorKind::io, "AES-CTR failed in OpenSSL");
  return {};
}

Result<void> append_eek_counters(ByteView iv, std::size_t size, Bytes& out) {
  if (iv.size() != kEekIvSize) return wrong_iv();
  std::array<std::uint8_t, kEekIvSize> counter;
  for (std::size_t i = 0; i < kEekIvSize; ++i) counter[i] = static_cast<std::uint8_t>(~iv[i]);
  for (std::size_t done = 0; done < size; done += kEekIvSize) {
    out.insert(out.end(), counter.begin(), counter.end());
    // 128 bits, big-endian, past the end to zero: as AES-CTR counts in Java and OpenSSL.
    for (std::size_t i = kEekIvSize; i-- > 0 && ++counter[i] == 0;) {
    }
  }
  return {};
}

void eek_xor(ByteView a, ByteView b, std::span<std::uint8_t> out) noexcept {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(a[i] ^ b[i]);
}

Result<void> eek_crypt(ByteView kek, ByteView iv, ByteView in, std::span<std::uint8_t> out) {
  // The IV is looked at first, as Java does.
  if (iv.size() != kEekIvSize) return wrong_iv();
  auto cipher = EekCipher::create(kek);
  if (!cipher.ok()) return std::move(cipher).error();
  return cipher->crypt(iv, in, out);
}

}  // namespace kms
