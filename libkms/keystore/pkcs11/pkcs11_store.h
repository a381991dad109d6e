// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/result.h"
#include "keystore/keystore.h"
#include "keystore/pkcs11/options.h"
#include "keystore/postgres/options.h"

// Keys that never leave a PKCS#11 token. The token has the material; a local file, or a store that
// nodes share, the rest: names, versions, attributes, and which object of the token is which
// version.
namespace kms::pkcs11 {

// The keystore that keys were adopted from, whose versions go on opening EEKs (adopt_keys).
struct PreviousKeystore {
  std::string uri;  // hadoop.kms.hsm.previous.uri; empty: there is none
  // Opens it, to be read only: for a process that serves, or for a check.
  std::function<Result<std::unique_ptr<KeyStore>>(Logger&, bool check_only)> open;
};

struct StoreOptions {
  std::string uri;  // hsm://PROFILE@/PATH, or hsm://PROFILE with hsm.metadata_uri
  StoreTokenOptions hsm;
  PreviousKeystore previous;
  TrusteeOptions trustee;  // of hsm.metadata_uri
  int lock_timeout_ms = 30000;
  uid_t owner_uid = static_cast<uid_t>(-1);  // owner of files made by a root parent; -1: leave
  gid_t owner_gid = static_cast<gid_t>(-1);
  std::string user_name;  // of owner_uid; a check tries the token as this user
};

// The file of "hsm://thales@/PATH"; empty for "hsm://thales". Errors (configuration): another form,
// an unknown profile.
Result<std::string> path_of_uri(std::string_view uri);

// Reads the file of metadata; a missing one is made, unless check_only. With check_only a
// short-lived process logs in to the token and proves that keys can be made and used there; else
// the token is not touched before attach(), and what is wrong with it shows in condition().
// Without PKCS#11 in this build: an error (configuration) that says so.
Result<std::unique_ptr<KeyStore>> open_store(StoreOptions options, Logger& logger, bool check_only);

// An object of the token, or a version of the file, and what it has on the other side.
struct Finding {
  enum class Kind {
    good,      // both sides
    missing,   // a version without its object: what it encrypted is lost
    differs,   // its object has another label, type or value
    pending,   // of a creation or deletion that was interrupted
    orphan,    // an object that this file made and does not know
    foreign,   // an object of some other store; never touched
    outside,   // a version that is in the previous keystore
    software,  // a version that has its key in the shared store
    late,      // a version that the previous keystore made after its key was adopted
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

// What became of a key of another keystore that the HSM shall have.
struct Adoption {
  enum class State {
    adopted,        // its versions are known as outside, a new one is made and is the current one
    would_adopt,    // the same, of a run that changes nothing
    already_there,  // it was adopted earlier
    rolled_since,   // the other keystore made versions after it was adopted, unknown here
    different,      // another key of this name is there; left alone
    refused,
  };
  State state = State::refused;
  std::string text;  // why, or what is remarkable
};
using AdoptionStep = std::function<void(std::size_t done, std::size_t total)>;  // keys

// Takes over from the other keystore the keys of these names, or all: name, cipher, length,
// description, attributes and date; its versions as they are counted there, to open EEKs with; and
// a new version out of the HSM. One durable change for each key, while servers of this store may be
// at work; a run that was interrupted is run again. act false: nothing is changed. What concerns
// one key is in its entry. A process of root's becomes the owner of the file. Errors: of the other
// keystore's names, of the token, of the file.
Result<std::map<std::string, Adoption>> adopt_keys(const StoreOptions& options, KeyStore& from,
                                                   const std::vector<std::string>& names, bool act,
                                                   Logger& logger, const AdoptionStep& step = {});

// A key of the file, and which of its versions are still asked for.
struct KeyUses {
  struct Version {
    std::string name;
    bool outside = false;
    std::int64_t last_use_ms = 0;  // generated with, decrypted or re-encrypted; 0: never
  };
  std::string name, current;
  std::int64_t adopted_ms = 0;  // 0: it was made in the HSM
  std::vector<Version> versions;
};
// Asks neither token nor previous keystore. Errors: corrupt, io.
Result<std::vector<KeyUses>> key_uses(const StoreOptions& options);

// Takes these versions, which are outside, out of the file: nothing opens their EEKs any more.
// Refuses all of them (invalid_argument) when one is not outside, or was used, or adopted and not
// used, within the last so many days.
Result<void> forget_versions(const StoreOptions& options, const std::vector<std::string>& versions,
                             std::int64_t unused_days, Logger& logger);

}  // namespace kms::pkcs11
