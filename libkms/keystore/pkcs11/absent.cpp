// SPDX-License-Identifier: Apache-2.0
// Stands for the keystore in a build without p11-kit.
#include "keystore/pkcs11/pkcs11_store.h"

namespace kms::pkcs11 {
namespace {

Error no_support() {
  return Error(
      ErrorKind::configuration,
      "hsm:// needs PKCS#11, which this build does not support: p11-kit was not there when "
      "it was configured");
}

}  // namespace

Result<std::string> path_of_uri(std::string_view) {
  return no_support();
}

Result<std::unique_ptr<KeyStore>> open_store(StoreOptions, Logger&, bool) {
  return no_support();
}

Result<TokenReport> examine(const StoreOptions&, Logger&) {
  return no_support();
}

Result<void> destroy_orphans(const StoreOptions&, const std::vector<std::string>&, Logger&) {
  return no_support();
}

Result<std::map<std::string, Adoption>> adopt_keys(const StoreOptions&, KeyStore&,
                                                   const std::vector<std::string>&, bool, Logger&,
                                                   const AdoptionStep&) {
  return no_support();
}

Result<std::vector<KeyUses>> key_uses(const StoreOptions&) {
  return no_support();
}

Result<void> forget_versions(const StoreOptions&, const std::vector<std::string>&, std::int64_t,
                             Logger&) {
  return no_support();
}

}  // namespace kms::pkcs11
