// SPDX-License-Identifier: Apache-2.0
// A sealing key from a passphrase, by OpenSSL's scrypt (RFC 7914).
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <memory>

#include "crypto/base64.h"
#include "crypto/random.h"
#include "hadoop/wire_json.h"
#include "seal/aead.h"
#include "seal/sealing_key.h"

namespace kms::seal {
namespace {

constexpr std::size_t kSaltSize = 16;
constexpr std::uint64_t kMostMemory = std::uint64_t{1} << 30;  // bytes

struct KdfFree {
  void operator()(EVP_KDF* k) const { EVP_KDF_free(k); }
};
struct ContextFree {
  void operator()(EVP_KDF_CTX* c) const { EVP_KDF_CTX_free(c); }
};

Error bad_parameters() {
  return Error(ErrorKind::corrupt, "the stored parameters of the passphrase are no scrypt's");
}

bool in_range(const ScryptParameters& p) {
  const bool power = p.n >= 1024 && p.n <= (1U << 24) && (p.n & (p.n - 1)) == 0;
  return power && p.r >= 1 && p.r <= 64 && p.p >= 1 && p.p <= 16 && p.salt.size() >= 8 &&
         128 * p.n * p.r <= kMostMemory;
}

}  // namespace

Result<ScryptParameters> ScryptParameters::fresh() {
  ScryptParameters made;
  made.salt.resize(kSaltSize);
  KMS_TRY(fill_public(made.salt));
  return made;
}

std::string ScryptParameters::text() const {
  const hadoop::JsonPtr object(json_object());
  hadoop::set_text(object.get(), "kdf", "scrypt");
  json_object_set_new(object.get(), "n", json_integer(static_cast<json_int_t>(n)));
  json_object_set_new(object.get(), "r", json_integer(static_cast<json_int_t>(r)));
  json_object_set_new(object.get(), "p", json_integer(static_cast<json_int_t>(p)));
  hadoop::set_text(object.get(), "salt", base64url_encode(salt));
  const std::unique_ptr<char, decltype(&std::free)> text(
      json_dumps(object.get(), JSON_COMPACT | JSON_SORT_KEYS), &std::free);
  return text != nullptr ? text.get() : std::string();
}

Result<ScryptParameters> ScryptParameters::parse(const std::string& text) {
  const hadoop::JsonPtr object(json_loadb(text.data(), text.size(), 0, nullptr));
  const json_t* kdf = json_object_get(object.get(), "kdf");
  const json_t* salt = json_object_get(object.get(), "salt");
  if (!json_is_string(kdf) || hadoop::text_of(kdf) != "scrypt" || !json_is_string(salt))
    return bad_parameters();
  ScryptParameters out;
  const auto number = [&](const char* name) {
    return static_cast<std::uint64_t>(json_integer_value(json_object_get(object.get(), name)));
  };
  out.n = number("n");
  out.r = number("r");
  out.p = number("p");
  out.salt = base64_decode_lenient(hadoop::text_of(salt));
  if (!in_range(out)) return bad_parameters();
  return out;
}

Result<Secret> derive_sealing_key(const Secret& passphrase, const ScryptParameters& parameters) {
  if (passphrase.empty())
    return Error(ErrorKind::configuration, "the passphrase of the sealing key is empty");
  ScryptParameters p = parameters;
  std::uint64_t memory = kMostMemory + (std::uint64_t{64} << 20);
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD,
                                        const_cast<std::uint8_t*>(passphrase.view().data()),
                                        passphrase.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, p.salt.data(), p.salt.size()),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &p.n),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_R, &p.r),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_P, &p.p),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
      OSSL_PARAM_construct_end()};
  const std::unique_ptr<EVP_KDF, KdfFree> kdf(EVP_KDF_fetch(nullptr, "SCRYPT", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, ContextFree> context(
      kdf != nullptr ? EVP_KDF_CTX_new(kdf.get()) : nullptr);
  Secret key(kAeadKeySize);
  if (context == nullptr || EVP_KDF_derive(context.get(), key.data(), key.size(), params) != 1)
    return Error(ErrorKind::internal, "scrypt failed in OpenSSL");
  return key;
}

}  // namespace kms::seal
