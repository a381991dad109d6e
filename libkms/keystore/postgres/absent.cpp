// SPDX-License-Identifier: Apache-2.0
// Stands for the key store in PostgreSQL in a build without libpq.
#include "keystore/postgres/trustee_store.h"

namespace kms {
namespace {

Error no_support(const std::string& uri) {
  return Error(ErrorKind::configuration,
               uri +
                   " needs PostgreSQL's client library, which this build does not support: libpq "
                   "was not there when it was configured");
}

}  // namespace

Result<std::unique_ptr<KeyStore>> open_trustee_store(const std::string& uri, const TrusteeOptions&,
                                                     Logger&, bool) {
  return no_support(uri);
}

Result<TrusteeStatus> trustee_status(const std::string& uri, const TrusteeOptions&) {
  return no_support(uri);
}

Result<TrusteeStatus> upgrade_trustee_store(const std::string& uri, const TrusteeOptions&, bool) {
  return no_support(uri);
}

}  // namespace kms
