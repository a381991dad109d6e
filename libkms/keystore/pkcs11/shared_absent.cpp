// SPDX-License-Identifier: Apache-2.0
// Stands for the store with shared metadata in a build without libpq.
#include "keystore/pkcs11/shared.h"

namespace kms::pkcs11 {
namespace {

Error no_support() {
  return Error(ErrorKind::configuration,
               "hadoop.kms.hsm.metadata.uri needs PostgreSQL's client library, which this build "
               "does not support: libpq was not there when it was configured");
}

}  // namespace

Result<std::unique_ptr<KeyStore>> open_shared_store(StoreOptions, const Profile&, Logger&, bool) {
  return no_support();
}

Result<TokenReport> examine_shared(const StoreOptions&, const Profile&, Logger&) {
  return no_support();
}

Result<void> destroy_shared_orphans(const StoreOptions&, const Profile&,
                                    const std::vector<std::string>&, Logger&) {
  return no_support();
}

}  // namespace kms::pkcs11
