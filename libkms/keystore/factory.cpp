// SPDX-License-Identifier: Apache-2.0
#include "keystore/factory.h"

#include "keystore/jceks/jceks_store.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/postgres/trustee_store.h"

namespace kms {

Result<std::unique_ptr<KeyStore>> open_keystore(KeyStoreOptions options, Logger& logger,
                                                bool check_only) {
  if (options.uri.starts_with("hsm:")) {
    pkcs11::StoreOptions hsm;
    hsm.uri = options.uri;
    hsm.hsm = std::move(options.hsm);
    hsm.lock_timeout_ms = options.lock_timeout_ms;
    hsm.owner_uid = options.owner_uid;
    hsm.owner_gid = options.owner_gid;
    hsm.user_name = options.user_name;
    return pkcs11::open_store(std::move(hsm), logger, check_only);
  }
  options.trustee.user = {options.owner_uid, options.owner_gid, options.user_name};
  if (options.uri.starts_with("trustee:"))
    return open_trustee_store(options.uri, options.trustee, logger, check_only);
  if (!options.uri.starts_with("jceks:")) {
    const std::string scheme = options.uri.substr(0, options.uri.find(':'));
    return Error(ErrorKind::configuration,
                 "key provider '" + options.uri + "': scheme '" + scheme +
                     "' is not served; use jceks://file@/PATH, "
                     "trustee://USER@HOST:PORT/DATABASE or hsm://PROFILE@/PATH");
  }
  auto path = jceks::path_of_uri(options.uri);
  if (!path.ok()) return std::move(path).error();
  jceks::JceksOptions jceks;
  jceks.uri = options.uri;
  jceks.path = std::move(*path);
  jceks.iterations = options.jceks_iterations;
  jceks.lock_timeout_ms = options.lock_timeout_ms;
  jceks.owner_uid = options.owner_uid;
  jceks.owner_gid = options.owner_gid;
  return jceks::open_store(std::move(jceks), std::move(options.password), logger, check_only);
}

std::string keystore_file(const std::string& uri) {
  if (!uri.starts_with("jceks:") && !uri.starts_with("hsm:")) return {};
  auto path = uri.starts_with("hsm:") ? pkcs11::path_of_uri(uri) : jceks::path_of_uri(uri);
  return path.ok() ? std::move(*path) : std::string();
}

}  // namespace kms
