// SPDX-License-Identifier: Apache-2.0
#include "keystore/factory.h"

#include "core/file_io.h"
#include "keystore/jceks/jceks_store.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/postgres/trustee_store.h"

namespace kms {
namespace {

// Nothing is changed in it: of a file no lock is taken, of a database only rows are read.
Result<std::unique_ptr<KeyStore>> open_previous(const KeyStoreOptions& of, Logger& logger,
                                                bool check_only) {
  KeyStoreOptions options;
  options.uri = of.hsm.previous_uri;
  options.password = of.password.clone();
  options.owner_uid = of.owner_uid;
  options.owner_gid = of.owner_gid;
  options.user_name = of.user_name;
  options.trustee = of.trustee;
  const bool is_file = options.uri.starts_with("jceks:");
  if (!is_file && !options.uri.starts_with("trustee:"))
    return Error(ErrorKind::configuration, "'" + options.uri +
                                               "' is neither jceks://file@/PATH nor " +
                                               "trustee://USER@HOST:PORT/DATABASE");
  if (!is_file && of.trustee.is_sealed_by_hsm())
    return Error(ErrorKind::configuration,
                 "the sealing key of " + options.uri +
                     " is in an HSM, for which this process has no second login: make that store "
                     "hadoop.kms.hsm.metadata.uri, or seal it by a file or a passphrase");
  if (is_file) {
    // As a provider it would begin empty.
    auto file = stat_file(keystore_file(options.uri));
    if (!file.ok()) return std::move(file).error();
    if (!file->exists)
      return Error(ErrorKind::unavailable, "there is no file " + keystore_file(options.uri));
  }
  return open_keystore(std::move(options), logger, check_only || is_file);
}

}  // namespace

pkcs11::StoreOptions hsm_store_options(KeyStoreOptions options) {
  pkcs11::StoreOptions hsm;
  hsm.uri = options.uri;
  hsm.hsm = options.hsm;
  hsm.trustee = options.trustee;
  hsm.trustee.user = {options.owner_uid, options.owner_gid, options.user_name};
  hsm.lock_timeout_ms = options.lock_timeout_ms;
  hsm.owner_uid = options.owner_uid;
  hsm.owner_gid = options.owner_gid;
  hsm.user_name = options.user_name;
  hsm.previous.uri = options.hsm.previous_uri;
  const auto kept = std::make_shared<const KeyStoreOptions>(std::move(options));
  hsm.previous.open = [kept](Logger& logger, bool check_only) {
    return open_previous(*kept, logger, check_only);
  };
  return hsm;
}

Result<std::unique_ptr<KeyStore>> open_keystore(KeyStoreOptions options, Logger& logger,
                                                bool check_only) {
  const bool is_hsm = options.uri.starts_with("hsm:");
  if (!is_hsm && !options.hsm.metadata_uri.empty())
    return Error(ErrorKind::configuration, "key provider '" + options.uri +
                                               "': hadoop.kms.hsm.metadata.uri is set, which is of "
                                               "a provider hsm://PROFILE only");
  if (is_hsm) return pkcs11::open_store(hsm_store_options(std::move(options)), logger, check_only);
  options.trustee.user = {options.owner_uid, options.owner_gid, options.user_name};
  if (options.uri.starts_with("trustee:"))
    return open_trustee_store(options.uri, options.trustee, logger, check_only);
  if (!options.uri.starts_with("jceks:")) {
    const std::string scheme = options.uri.substr(0, options.uri.find(':'));
    return Error(ErrorKind::configuration,
                 "key provider '" + options.uri + "': scheme '" + scheme +
                     "' is not served; use jceks://file@/PATH, "
                     "trustee://USER@HOST:PORT/DATABASE, hsm://PROFILE@/PATH or hsm://PROFILE");
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
