// SPDX-License-Identifier: Apache-2.0
#include "keystore/keystore.h"

#include "crypto/random.h"

namespace kms {

std::optional<std::string_view> base_name(std::string_view version_name) {
  const auto at = version_name.rfind('@');
  if (at == std::string_view::npos) return std::nullopt;
  return version_name.substr(0, at);
}

std::string version_name(std::string_view name, std::int32_t number) {
  return std::string(name) + "@" + std::to_string(number);
}

Result<std::vector<Eek>> KeyStore::generate_eeks(std::string_view name, std::size_t count) {
  auto found = current_version(name);
  if (!found.ok()) return std::move(found).error();
  const VersionPtr kek = *found;
  std::vector<Eek> eeks;
  if (kek == nullptr) return eeks;
  eeks.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Eek& eek = eeks.emplace_back();
    eek.wrapped_by = kek;
    // The DEK is as long as the KEK (KeyProviderCryptoExtension).
    Secret dek(kek->material.size());
    KMS_TRY(fill_private({dek.data(), dek.size()}));
    KMS_TRY(fill_public(eek.iv));
    eek.material.resize(dek.size());
    KMS_TRY(eek_crypt(kek->material.view(), eek.iv, dek.view(), eek.material));
  }
  return eeks;
}

Result<Secret> KeyStore::decrypt_eek(const VersionPtr& kek, ByteView iv, ByteView eek) {
  Secret dek(eek.size());
  KMS_TRY(eek_crypt(kek->material.view(), iv, eek, {dek.data(), dek.size()}));
  return dek;
}

Result<Bytes> KeyStore::reencrypt_eek(const VersionPtr& from, const VersionPtr& to, ByteView iv,
                                      ByteView eek) {
  auto dek = decrypt_eek(from, iv, eek);
  if (!dek.ok()) return std::move(dek).error();
  Bytes out(eek.size());
  KMS_TRY(eek_crypt(to->material.view(), iv, dek->view(), out));
  return out;
}

}  // namespace kms
