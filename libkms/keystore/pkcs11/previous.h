// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "core/health.h"
#include "core/log.h"
#include "core/result.h"
#include "keystore/pkcs11/metadata.h"
#include "keystore/pkcs11/pkcs11_store.h"

namespace kms::pkcs11 {

// The keystore that keys were adopted from, as far as versions of theirs are still there. It is
// read only. Without it everything else is served. Thread-safe.
class Previous {
 public:
  // logger must outlive the object.
  Previous(PreviousKeystore where, std::string metadata_file, Logger& logger)
      : where_(std::move(where)), metadata_file_(std::move(metadata_file)), logger_(logger) {}

  // Before the fork. needed: how many versions are in it. Errors (configuration): it is not
  // configured and needed; with check_only also: it cannot be opened and is needed.
  Result<void> open(std::size_t needed, bool check_only);
  void attach(bool needed);
  void detach() noexcept;
  void poll(bool needed);  // opens what could not be opened; may throw
  Health condition() const noexcept { return health_.read(); }

  // Once after it was opened: says which versions came too late, see made_since().
  void look_for_late_ones(const State& state);

  // The version with its material, proven to be the one that was adopted. Errors: unavailable;
  // corrupt when it is not there, or another key.
  Result<VersionPtr> find(const TokenVersion& version);

 private:
  std::shared_ptr<KeyStore> store();
  void try_to_open(bool needed);
  void note_health(bool needed);
  Error refuse(const TokenVersion& version, const std::string& why);
  void log(LogLevel level, const char* id, const std::string& text) {
    logger_.log(level, id, metadata_file_ + ": " + text);
  }

  const PreviousKeystore where_;
  const std::string metadata_file_;
  Logger& logger_;
  HealthNote health_;

  std::mutex mutex_;  // guards what follows
  std::shared_ptr<KeyStore> store_;
  std::string why_;                // it could not be opened
  bool said_ = false;              // and the log has that
  bool looked_ = false;            // for versions that came too late
  std::int64_t next_try_ms_ = 0;   // of steady_ms()
  std::set<std::string> refused_;  // versions of which the log has it
};

// Names of the versions that a keystore made of a key after it was adopted from there. The HSM has
// others of these names, or will have: what they encrypted is not read right here. None of a key
// that is another one by now.
std::vector<std::string> made_since(const KeyRecord& ours, const KeyMetadata& theirs);
// Of all keys. A key that cannot be read there is left out; unavailable ends it.
Result<std::vector<std::string>> made_since(const State& state, KeyStore& from);

// The first bytes of the encryption of a block of zeros, as KeyRef::check has them.
Result<Bytes> check_of(ByteView material);

}  // namespace kms::pkcs11
