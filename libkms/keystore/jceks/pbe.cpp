// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/pbe.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "crypto/random.h"
#include "keystore/jceks/modified_utf8.h"

namespace kms::jceks {
namespace {

using Salt = std::array<std::uint8_t, 8>;

struct FreeDigest {
  void operator()(EVP_MD_CTX* p) const noexcept { EVP_MD_CTX_free(p); }
};
struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* p) const noexcept { EVP_CIPHER_CTX_free(p); }
};
using DigestCtx = std::unique_ptr<EVP_MD_CTX, FreeDigest>;
using CipherCtx = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;

// Fetched once for each process: a fetch costs more than many digests. Kept until the end on
// purpose, since OpenSSL's own clean-up may run before ours.
struct Algorithms {
  EVP_MD* md5 = EVP_MD_fetch(nullptr, "MD5", nullptr);
  EVP_MD* sha1 = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  EVP_CIPHER* des3 = EVP_CIPHER_fetch(nullptr, "DES-EDE3-CBC", nullptr);
  bool complete() const noexcept { return md5 != nullptr && sha1 != nullptr && des3 != nullptr; }
};

const Algorithms& algorithms() {
  static const Algorithms all;
  return all;
}

constexpr std::size_t kMd5Size = 16;

// Key and IV: 24 bytes of 3DES key, 8 bytes of IV. One buffer "D || P" serves every round, because
// the digest may be written over its own input's beginning; that leaves one update for each digest.
Result<Secret> derive(const Salt& first, const PbeParams& params, ByteView password) {
  Secret out(2 * kMd5Size);
  Secret round(kMd5Size + password.size());
  const DigestCtx ctx(EVP_MD_CTX_new());
  std::uint8_t* const d = round.data();
  bool good = ctx != nullptr;
  for (std::size_t half = 0; half < 2 && good; ++half) {
    // D = MD5(S_h || P): the half salt sits right before the password.
    std::memcpy(d + kMd5Size - 4, half == 0 ? first.data() : params.salt.data() + 4, 4);
    std::copy(password.begin(), password.end(), d + kMd5Size);
    good = EVP_DigestInit_ex2(ctx.get(), algorithms().md5, nullptr) == 1 &&
           EVP_DigestUpdate(ctx.get(), d + kMd5Size - 4, 4 + password.size()) == 1 &&
           EVP_DigestFinal_ex(ctx.get(), d, nullptr) == 1;
    for (std::int32_t i = 1; i < params.iterations && good; ++i)
      good = EVP_DigestInit_ex2(ctx.get(), nullptr, nullptr) == 1 &&
             EVP_DigestUpdate(ctx.get(), d, round.size()) == 1 &&
             EVP_DigestFinal_ex(ctx.get(), d, nullptr) == 1;
    std::memcpy(out.data() + half * kMd5Size, d, kMd5Size);
  }
  if (!good) return Error(ErrorKind::internal, "OpenSSL failed to compute MD5");
  return out;
}

// The first half of the salt as the derivation uses it: reversed when both halves are equal.
Salt first_half(const PbeParams& params) {
  Salt s = params.salt;
  if (std::equal(s.begin(), s.begin() + 4, s.begin() + 4)) std::reverse(s.begin(), s.begin() + 4);
  return s;
}

// The same with the slip of old JDKs, [a b c d] -> [d a b d]; nothing when the halves differ.
std::optional<Salt> old_first_half(const PbeParams& params) {
  Salt s = params.salt;
  if (!std::equal(s.begin(), s.begin() + 4, s.begin() + 4)) return std::nullopt;
  return Salt{s[3], s[0], s[1], s[3]};
}

Result<void> check_iterations(std::int32_t iterations, std::int32_t most) {
  if (iterations <= 0) return Error(ErrorKind::corrupt, "IterationCount must be a positive number");
  if (iterations > most) return Error(ErrorKind::corrupt, "PBE iteration count too large");
  return {};
}

Result<void> check_password(ByteView password) {
  for (const std::uint8_t b : password)
    if (b < 0x20 || b > 0x7E) return Error(ErrorKind::io, "Password is not ASCII");
  return {};
}

constexpr std::uint8_t kStreamHeader[] = {0xAC, 0xED, 0x00, 0x05};

Result<Secret> decrypt_with(const Salt& first, const PbeParams& params, ByteView password,
                            ByteView ciphertext) {
  auto key = derive(first, params, password);
  if (!key.ok()) return std::move(key).error();
  const CipherCtx ctx(EVP_CIPHER_CTX_new());
  Secret padded(ciphertext.size());
  int size = 0;
  if (ctx == nullptr ||
      EVP_DecryptInit_ex2(ctx.get(), algorithms().des3, key->data(), key->data() + 24, nullptr) !=
          1 ||
      EVP_CIPHER_CTX_set_padding(ctx.get(), 0) != 1 ||
      EVP_DecryptUpdate(ctx.get(), padded.data(), &size, ciphertext.data(),
                        static_cast<int>(ciphertext.size())) != 1)
    return Error(ErrorKind::internal, "OpenSSL failed to decrypt with 3DES");
  const ByteView plain = padded.view();
  const std::size_t pad = plain.back();
  const bool padding = pad >= 1 && pad <= 8 &&
                       std::all_of(plain.end() - static_cast<std::ptrdiff_t>(pad), plain.end(),
                                   [pad](std::uint8_t b) { return b == pad; });
  if (!padding)
    return Error(ErrorKind::corrupt,
                 "Given final block not properly padded. Such issues can arise if a bad key is "
                 "used during decryption.");
  if (plain.size() - pad < sizeof kStreamHeader ||
      !std::equal(std::begin(kStreamHeader), std::end(kStreamHeader), plain.begin()))
    return Error(ErrorKind::corrupt, "invalid stream header");
  return Secret(plain.first(plain.size() - pad));
}

}  // namespace

Result<void> pbe_available() {
  if (algorithms().complete()) return {};
  return Error(
      ErrorKind::configuration,
      "a JCEKS keystore needs MD5, SHA-1 and 3DES, which OpenSSL does not offer here (FIPS "
      "mode, or a crypto policy without them)");
}

Result<PbeParams> new_pbe_params(std::int32_t iterations) {
  PbeParams params;
  params.iterations = iterations;
  do {
    KMS_TRY(fill_public(params.salt));
  } while (old_first_half(params).has_value());
  return params;
}

Result<Bytes> pbe_encrypt(const PbeParams& params, ByteView password, ByteView plaintext) {
  KMS_TRY(check_password(password));
  auto key = derive(first_half(params), params, password);
  if (!key.ok()) return std::move(key).error();
  const CipherCtx ctx(EVP_CIPHER_CTX_new());
  Bytes out(plaintext.size() + 8);
  int size = 0, last = 0;
  if (ctx == nullptr ||
      EVP_EncryptInit_ex2(ctx.get(), algorithms().des3, key->data(), key->data() + 24, nullptr) !=
          1 ||
      EVP_EncryptUpdate(ctx.get(), out.data(), &size, plaintext.data(),
                        static_cast<int>(plaintext.size())) != 1 ||
      EVP_EncryptFinal_ex(ctx.get(), out.data() + size, &last) != 1)
    return Error(ErrorKind::internal, "OpenSSL failed to encrypt with 3DES");
  out.resize(static_cast<std::size_t>(size) + static_cast<std::size_t>(last));
  return out;
}

Result<Secret> pbe_decrypt(const PbeParams& params, ByteView password, ByteView ciphertext,
                           std::int32_t max_iterations) {
  KMS_TRY(check_iterations(params.iterations, max_iterations));
  KMS_TRY(check_password(password));
  if (ciphertext.empty() || ciphertext.size() % 8 != 0 || ciphertext.size() > 0x7FFFFFF0)
    return Error(ErrorKind::corrupt,
                 "Input length must be multiple of 8 when decrypting with "
                 "padded cipher");
  auto plain = decrypt_with(first_half(params), params, password, ciphertext);
  if (plain.ok()) return plain;
  const auto old = old_first_half(params);
  if (!old.has_value()) return plain;
  auto again = decrypt_with(*old, params, password, ciphertext);
  return again.ok() ? std::move(again) : std::move(plain);
}

Result<StoreDigest> store_digest(ByteView password, ByteView body) {
  static constexpr std::string_view kWhitener = "Mighty Aphrodite";
  const Secret units = utf16be(password);
  const DigestCtx ctx(EVP_MD_CTX_new());
  StoreDigest digest;
  if (ctx == nullptr || EVP_DigestInit_ex2(ctx.get(), algorithms().sha1, nullptr) != 1 ||
      EVP_DigestUpdate(ctx.get(), units.view().data(), units.size()) != 1 ||
      EVP_DigestUpdate(ctx.get(), kWhitener.data(), kWhitener.size()) != 1 ||
      EVP_DigestUpdate(ctx.get(), body.data(), body.size()) != 1 ||
      EVP_DigestFinal_ex(ctx.get(), digest.data(), nullptr) != 1)
    return Error(ErrorKind::internal, "OpenSSL failed to compute SHA-1");
  return digest;
}

}  // namespace kms::jceks
