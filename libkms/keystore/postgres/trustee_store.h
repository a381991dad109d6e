// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "keystore/keystore.h"
#include "keystore/postgres/options.h"

namespace kms {

// Of a store on top of this one whose keys are in a token: makes what is given out as a version of
// what is sealed as it, either material or a KeyReference. Without one, versions with references
// are refused, and none can be made.
using VersionMaker = std::function<Result<VersionPtr>(KeyVersion sealed, std::int32_t bits)>;

// Opens the key store in PostgreSQL that the URI names. Reads passwords and keys from their files,
// as whoever opens it. With check_only the store is not changed, and a database that is out of
// reach is an error; else that is a warning, since a server that only reads its configuration anew
// must not stop for it.
Result<std::unique_ptr<KeyStore>> open_trustee_store(const std::string& uri,
                                                     const TrusteeOptions& options, Logger& logger,
                                                     bool check_only, VersionMaker maker = {});

// The schema of a store, for the operator's tool.
struct TrusteeStatus {
  int version = 0;  // of the schema; 0: there is no store
  int newest = 0;   // that this program knows
  std::string server;
  std::string commits;  // why its commits are not safe; empty: they are
  std::string seal_id;  // the sealing key of the store, or why the configured one is not
  bool sealed_by_ours = false;
  std::int64_t keys = 0, versions = 0, deleted = 0;  // deleted: kept, and not among keys
};
Result<TrusteeStatus> trustee_status(const std::string& uri, const TrusteeOptions& options);
// Makes the tables of the store where there is none (initialize) or brings them to the newest
// version. A new store is sealed with the configured sealing key. The status after it.
Result<TrusteeStatus> upgrade_trustee_store(const std::string& uri, const TrusteeOptions& options,
                                            bool initialize);

}  // namespace kms
