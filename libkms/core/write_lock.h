// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/lock_file.h"
#include "core/result.h"

namespace kms {

// The right to write a store, of one thread in one process at a time: a mutex in the process and a
// LockFile between processes. Lives on when somebody takes the lock file away. Before open(), and
// where no lock file can be made, generation() and counter() are of this process alone.
class WriteLock {
 public:
  // reopened is called, with the lock of the threads held, when another lock file had to be taken
  // than the one of open().
  WriteLock(LockFileOptions options, std::function<void()> reopened)
      : options_(std::move(options)), reopened_(std::move(reopened)) {}
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

  const std::string& path() const noexcept { return options_.path; }
  // Any thread, without a lock.
  std::atomic<std::uint64_t>& generation() noexcept { return words_.load()->generation; }
  std::atomic<std::uint64_t>& counter() noexcept { return words_.load()->counter; }

  Result<void> open();
  // Looks whether the lock file is still the right one, unless a writer is about to do so itself,
  // or there is none.
  Result<void> poll();

  // The right itself, from take() until the object goes.
  class Turn {
   public:
    explicit Turn(WriteLock& lock) : Turn(lock, lock.options_.timeout_ms) {}
    Turn(WriteLock& lock, int timeout_ms);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    // Waits for threads and processes, with one deadline. Opens the lock file when there is none.
    // Errors: io; unavailable after the wait.
    Result<void> take();
    // Whether the path still names the file that is locked. Without, others may be writing.
    bool still_held() const noexcept { return lock_.file_->is_current(); }

   private:
    bool lock_threads();
    int left() const;
    WriteLock& lock_;
    const std::int64_t deadline_;
    bool mine_ = false, locked_ = false;
  };

 private:
  Result<void> open_file();
  Result<void> check_file();

  const LockFileOptions options_;
  const std::function<void()> reopened_;
  LockFile::Words own_;
  std::atomic<LockFile::Words*> words_{&own_};

  std::mutex threads_;  // guards what follows, and orders the writers of the process
  std::unique_ptr<LockFile> file_;
  std::vector<std::unique_ptr<LockFile>> retired_;  // readers may still look at their mappings
};

}  // namespace kms
