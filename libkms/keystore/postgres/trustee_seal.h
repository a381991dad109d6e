// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/result.h"
#include "keystore/postgres/options.h"

// The sealing keys of a store, for the operator's tool. Errors: configuration, unavailable,
// invalid_argument for an id.
namespace kms {

struct SealReport {
  // A key that the configuration names. Without an id it is none that the store trusts.
  struct Source {
    std::string kind, name, id;  // name: path of the file, or label in the token
    bool previous = false;
  };
  // A key that the store trusts.
  struct Key {
    std::string id, kind, label;  // label: of a key in a token
    std::int64_t created_ms = 0;
    std::int64_t rows = 0;  // that are sealed by it
    bool current = false;   // it seals
    bool configured = false;
  };
  std::vector<Source> sources;
  std::vector<Key> keys;
  std::vector<std::string> problems;  // why a server with this configuration would not serve well
};
Result<SealReport> seal_settings(const std::string& uri, const TrusteeOptions& options);

// Makes the configured sealing key where there is none: the key in the token, or the key file. Does
// not ask the database. A passphrase is for people to write.
struct SealSetup {
  bool made = false;  // else it was there
  std::string what;   // id of a key in the token, path of a file
};
Result<SealSetup> seal_setup(const TrusteeOptions& options);

// The store trusts the configured sealing key from now on, beside those that it trusts already. It
// does not seal by it before seal_rewrap().
Result<SealReport> trust_sealing_key(const std::string& uri, const TrusteeOptions& options);
// It trusts this one no longer; refused for the current one, and while rows are sealed by it.
Result<SealReport> distrust_sealing_key(const std::string& uri, const TrusteeOptions& options,
                                        const std::string& id);

struct SealWork {
  std::int64_t rows = 0;              // that were looked at, or that were wrapped anew
  std::int64_t left = 0;              // rewrap: rows that are sealed by other keys still
  std::string id;                     // rewrap: the key that seals
  std::vector<std::string> problems;  // at most a hundred of
  std::int64_t failed = 0;
};
using SealStep = std::function<void(std::int64_t total)>;  // after each row

// Wraps and unwraps with each key, then opens every row.
Result<SealWork> validate_seals(const std::string& uri, const TrusteeOptions& options,
                                Logger& logger, const SealStep& step);
// Makes the configured key the one that seals, then wraps the data keys of all rows by it. Servers
// go on meanwhile; what is interrupted goes on when it is called again.
Result<SealWork> rewrap_seals(const std::string& uri, const TrusteeOptions& options, Logger& logger,
                              const SealStep& step);

}  // namespace kms
