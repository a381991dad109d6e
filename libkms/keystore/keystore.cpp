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

Result<void> KeyStore::import_key(const KeyMetadata& metadata, std::span<const VersionPtr>) {
  return Error(ErrorKind::unsupported,
               uri() + " takes no keys over from elsewhere, so not " + metadata.name);
}

namespace {

Error keeps_nothing(const KeyStore& store) {
  return Error(ErrorKind::unsupported, store.uri() + " keeps no deleted keys");
}

}  // namespace

Result<std::vector<DeletedKey>> KeyStore::deleted_keys() {
  return keeps_nothing(*this);
}

Result<std::optional<DeletedKey>> KeyStore::deleted_key(std::string_view) {
  return keeps_nothing(*this);
}

Result<void> KeyStore::undelete(std::string_view, const Approval&) {
  return keeps_nothing(*this);
}

Result<void> KeyStore::purge(std::string_view, const Approval&) {
  return keeps_nothing(*this);
}

Result<void> KeyStore::set_state(std::string_view name, KeyState, const Approval&) {
  return Error(ErrorKind::unsupported,
               uri() + " keeps no states of keys, so not of " + std::string(name));
}

Result<std::vector<Eek>> KeyStore::generate_eeks(std::string_view name, std::size_t count) {
  auto found = current_version(name);
  if (!found.ok()) return std::move(found).error();
  const VersionPtr kek = *found;
  std::vector<Eek> eeks;
  if (kek == nullptr) return eeks;
  eeks.reserve(count);
  auto cipher = EekCipher::create(kek->material.view());
  if (!cipher.ok()) return std::move(cipher).error();
  for (std::size_t i = 0; i < count; ++i) {
    Eek& eek = eeks.emplace_back();
    eek.wrapped_by = kek;
    // The DEK is as long as the KEK (KeyProviderCryptoExtension).
    Secret dek(kek->material.size());
    KMS_TRY(fill_private({dek.data(), dek.size()}));
    KMS_TRY(fill_public(eek.iv));
    eek.material.resize(dek.size());
    KMS_TRY(cipher->crypt(eek.iv, dek.view(), eek.material));
  }
  return eeks;
}

Result<Secret> KeyStore::decrypt_eek(const VersionPtr& kek, ByteView iv, ByteView eek) {
  Secret dek(eek.size());
  KMS_TRY(eek_crypt(kek->material.view(), iv, eek, {dek.data(), dek.size()}));
  return dek;
}

Result<void> KeyStore::reencrypt_eeks(const VersionPtr& from, const VersionPtr& to,
                                      std::span<WrappedDek> eeks) {
  auto unwrap = EekCipher::create(from->material.view());
  if (!unwrap.ok()) return std::move(unwrap).error();
  auto wrap = EekCipher::create(to->material.view());
  if (!wrap.ok()) return std::move(wrap).error();
  Secret dek;
  for (WrappedDek& eek : eeks) {
    if (dek.size() != eek.material.size()) dek = Secret(eek.material.size());
    KMS_TRY(unwrap->crypt(eek.iv, eek.material, {dek.data(), dek.size()}));
    KMS_TRY(wrap->crypt(eek.iv, dek.view(), eek.material));
  }
  return {};
}

}  // namespace kms
