// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/keystore.h"

namespace kms::jceks {

// PBE iteration counts as the JDK has them: what it writes by default, the least and the most it
// accepts in jdk.jceks.iterationCount.
inline constexpr int kDefaultIterations = 200000;
inline constexpr int kMinIterations = 10000;
inline constexpr int kMaxIterations = 5000000;

struct JceksOptions {
  std::string uri;                      // as configured; used in messages
  std::string path;                     // absolute path of the keystore file
  int iterations = kDefaultIterations;  // for entries that this store writes
  int lock_timeout_ms = 30000;  // longest wait for another writer, then ErrorKind::unavailable
  uid_t owner_uid = static_cast<uid_t>(-1);  // owner of files made by a root parent; -1: leave
  gid_t owner_gid = static_cast<gid_t>(-1);
};

// Turns "jceks://file@/path" into the absolute path, with the rules of jceks.md d.1
// (percent-decoding; a query or fragment becomes part of the name). Errors (configuration): another
// scheme, a host, hdfs.
Result<std::string> path_of_uri(std::string_view uri);

// Opens the keystore file. check_only reads and verifies and changes nothing on disk (configtest);
// otherwise the _NEW/_OLD recovery of JavaKeyStoreProvider is carried out under the lock, and a
// store left half-written is refused (never served as empty). The password is kept, wiped with the
// object.
Result<std::unique_ptr<KeyStore>> open_store(JceksOptions options, Secret password, Logger& logger,
                                             bool check_only);

}  // namespace kms::jceks
