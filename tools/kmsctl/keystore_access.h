// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "command.h"
#include "conf.h"
#include "core/secret.h"
#include "keystore/factory.h"
#include "rest.h"

namespace kmsctl {

// A keystore to work on without a server.
struct KeystoreAccess {
  std::string uri;   // "jceks://file@/path"
  std::string path;  // of the file; empty for keystores that are none
  kms::Secret password;
  kms::TrusteeOptions trustee;                // of a store in PostgreSQL
  kms::pkcs11::StoreTokenOptions hsm;         // of a store in an HSM
  std::shared_ptr<const RestOptions> served;  // of a KMS that serves; null: it is none
};

// given is a URI or the path of a JCEKS file; empty: hadoop.kms.key.provider.uri. The password is
// that of password_file where it is not empty; else as the server finds it: in
// HADOOP_KEYSTORE_PASSWORD, the password file of kms-site.xml, or "none". Of a store that is no
// file the configuration says the rest.
Result<KeystoreAccess> keystore_access(const Conf& conf, const std::string& given,
                                       const std::string& password_file);

// The same as the server opens it with.
kms::KeyStoreOptions store_options(const KeystoreAccess& access);

// Opens and attaches it. check_only: to be read only.
Result<std::unique_ptr<kms::KeyStore>> open_keystore(const KeystoreAccess& access,
                                                     kms::Logger& logger, bool check_only);

}  // namespace kmsctl
