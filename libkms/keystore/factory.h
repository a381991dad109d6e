// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/keystore.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/postgres/options.h"

namespace kms {

struct KeyStoreOptions {
  std::string uri;                // hadoop.kms.key.provider.uri, expanded
  Secret password;                // of a JCEKS file, also of one that is the previous of hsm://
  int jceks_iterations = 200000;  // PBE iterations of entries written from now on
  int lock_timeout_ms = 30000;
  uid_t owner_uid = static_cast<uid_t>(-1);  // who serves, when a root parent makes files
  gid_t owner_gid = static_cast<gid_t>(-1);
  std::string user_name;          // of owner_uid
  TrusteeOptions trustee;         // of a store in PostgreSQL
  pkcs11::StoreTokenOptions hsm;  // of hsm://
};

// Opens the keystore that the URI's scheme names: jceks, trustee, hsm. Other schemes are an error
// (configuration) that says what there is. check_only changes nothing on disk.
Result<std::unique_ptr<KeyStore>> open_keystore(KeyStoreOptions options, Logger& logger,
                                                bool check_only);
// The same for a store hsm:// in its own terms, its previous keystore included.
pkcs11::StoreOptions hsm_store_options(KeyStoreOptions options);
// File that holds the keys, for messages and access checks; empty for stores that are no file.
std::string keystore_file(const std::string& uri);

}  // namespace kms
