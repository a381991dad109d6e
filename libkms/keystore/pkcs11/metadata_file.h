// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "core/health.h"
#include "core/log.h"
#include "core/thread_cached.h"
#include "core/write_lock.h"
#include "keystore/pkcs11/metadata.h"

namespace kms::pkcs11 {

// The file of metadata as the processes of one host share it: readers compare the generation in the
// lock file with that of their thread's own state, writers take turns. Thread-safe.
class MetadataFile {
 public:
  MetadataFile(std::string path, FileOwner owner, int lock_timeout_ms, Logger& logger,
               StatePtr first);

  const std::string& path() const noexcept { return path_; }
  Health condition() const noexcept { return health_.read(); }
  WriteLock& lock() noexcept { return lock_; }

  Result<void> attach();
  void poll();  // may throw
  // What is in force now; good until the thread's next call. unavailable: it was changed and cannot
  // be read.
  Result<const State*> state();
  StatePtr latest();  // what this process knows, without a look
  void look();        // reads the file if it is another one now

  // With the turn: the state of the file right now, to which a change may be made.
  Result<StatePtr> writable_base();
  // Puts next in the place of base, durably. approval is asked last.
  Result<StatePtr> write(const WriteLock::Turn& turn, const State& base, State next,
                         const KeyVersion* fresh, const Approval& approval);

 private:
  bool refresh_locked();
  void sync_with_file();
  void look_locked();
  void complain(const std::string& why);
  void log(LogLevel level, const char* id, const std::string& text) {
    logger_.log(level, id, path_ + ": " + text);
  }

  const std::string path_;
  const FileOwner owner_;
  Logger& logger_;
  ThreadCached<State> cached_;
  WriteLock lock_;
  HealthNote health_;

  std::mutex mutex_;  // guards what follows
  StatePtr current_;
  std::uint64_t seen_generation_ = 0;  // that current_ is good for
  std::string damage_;                 // why the file on the disk cannot be read; empty: it can
};

// Errors: corrupt, io. A missing file is an empty state, without a store id.
Result<StatePtr> load_state(const std::string& path);

}  // namespace kms::pkcs11
