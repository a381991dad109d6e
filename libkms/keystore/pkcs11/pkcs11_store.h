// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/result.h"
#include "keystore/keystore.h"
#include "keystore/pkcs11/options.h"

// Keys that never leave a PKCS#11 token. The token has the material, a local file the rest: names,
// versions, attributes, and which object of the token is which version.
namespace kms::pkcs11 {

struct StoreOptions {
  std::string uri;  // hsm://PROFILE@/PATH
  StoreTokenOptions hsm;
  int lock_timeout_ms = 30000;
  uid_t owner_uid = static_cast<uid_t>(-1);  // owner of files made by a root parent; -1: leave
  gid_t owner_gid = static_cast<gid_t>(-1);
  std::string user_name;  // of owner_uid; a check tries the token as this user
};

// The file of "hsm://thales@/PATH". Errors (configuration): another form, an unknown profile.
Result<std::string> path_of_uri(std::string_view uri);

// Reads the file of metadata; a missing one is made, unless check_only. With check_only a
// short-lived process logs in to the token and proves that keys can be made and used there; else
// the token is not touched before attach(), and what is wrong with it shows in condition().
// Without PKCS#11 in this build: an error (configuration) that says so.
Result<std::unique_ptr<KeyStore>> open_store(StoreOptions options, Logger& logger, bool check_only);

// An object of the token, or a version of the file, and what it has on the other side.
struct Finding {
  enum class Kind {
    good,     // both sides
    missing,  // a version without its object: what it encrypted is lost
    differs,  // its object has another label, type or value
    pending,  // of a creation or deletion that was interrupted
    orphan,   // an object that this file made and does not know
    foreign,  // an object of some other store; never touched
  };
  Kind kind = Kind::good;
  std::string label, id;  // id in hexadecimal digits
  std::string what;       // for people
};

// What kmsctl hsm does, from a process that serves nothing.
struct TokenReport {
  std::vector<std::pair<std::string, std::string>> facts;  // of library, token, mechanisms, limits
  std::vector<Finding> findings;
};
// Logs in and compares both sides. Errors: as of configtest.
Result<TokenReport> examine(const StoreOptions& options, Logger& logger);
// Destroys the objects of these ids: orphan or pending ones only, all others are an error.
Result<void> destroy_orphans(const StoreOptions& options, const std::vector<std::string>& ids,
                             Logger& logger);

}  // namespace kms::pkcs11
