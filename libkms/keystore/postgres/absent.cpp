// SPDX-License-Identifier: Apache-2.0
// Stands for the key store in PostgreSQL in a build without libpq.
#include "keystore/postgres/backup.h"
#include "keystore/postgres/trustee_seal.h"
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
                                                     Logger&, bool, VersionMaker) {
  return no_support(uri);
}

Result<TrusteeStatus> trustee_status(const std::string& uri, const TrusteeOptions&) {
  return no_support(uri);
}

Result<TrusteeStatus> upgrade_trustee_store(const std::string& uri, const TrusteeOptions&, bool) {
  return no_support(uri);
}

Result<BackupTotals> backup_trustee_store(const std::string& uri, const TrusteeOptions&,
                                          const std::string&, std::span<const std::string>,
                                          const BulkStep&) {
  return no_support(uri);
}

Result<Restored> restore_trustee_store(const std::string& uri, const TrusteeOptions&,
                                       const RestoreOptions&, const BulkStep&) {
  return no_support(uri);
}

Result<SealReport> seal_settings(const std::string& uri, const TrusteeOptions&) {
  return no_support(uri);
}

Result<SealSetup> seal_setup(const TrusteeOptions&) {
  return no_support("trustee://");
}

Result<SealReport> trust_sealing_key(const std::string& uri, const TrusteeOptions&) {
  return no_support(uri);
}

Result<SealReport> distrust_sealing_key(const std::string& uri, const TrusteeOptions&,
                                        const std::string&) {
  return no_support(uri);
}

Result<SealWork> validate_seals(const std::string& uri, const TrusteeOptions&, Logger&,
                                const SealStep&) {
  return no_support(uri);
}

Result<SealWork> rewrap_seals(const std::string& uri, const TrusteeOptions&, Logger&,
                              const SealStep&) {
  return no_support(uri);
}

}  // namespace kms
