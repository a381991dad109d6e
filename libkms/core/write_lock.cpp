// SPDX-License-Identifier: Apache-2.0
#include "core/write_lock.h"

#include <pthread.h>

#include <ctime>
#include <utility>

#include "core/clock.h"

namespace kms {

Result<void> WriteLock::open() {
  const std::lock_guard hold(threads_);
  return open_file();
}

// threads_ is held. An earlier file stays mapped, since readers may be looking at it.
Result<void> WriteLock::open_file() {
  auto fresh = LockFile::open(options_);
  if (!fresh.ok()) return std::move(fresh).error();
  if (file_ != nullptr) {
    file_->retire();
    retired_.push_back(std::move(file_));
  }
  file_ = std::move(*fresh);
  words_.store(&file_->words());
  return {};
}

// threads_ is held. There may be another file than ours, or a shortened one, at its place.
Result<void> WriteLock::check_file() {
  if (file_ == nullptr) return open_file();
  if (file_->is_current()) return {};
  KMS_TRY(open_file());
  reopened_();
  return {};
}

Result<void> WriteLock::poll() {
  const std::unique_lock hold(threads_, std::try_to_lock);
  // A writer at work checks for itself; a read-only service has no lock file.
  if (!hold.owns_lock() || file_ == nullptr) return {};
  return check_file();
}

WriteLock::Turn::Turn(WriteLock& lock, int timeout_ms)
    : lock_(lock), deadline_(steady_ms() + timeout_ms) {}

WriteLock::Turn::~Turn() {
  if (locked_) lock_.file_->unlock();
  if (mine_) lock_.threads_.unlock();
}

Result<void> WriteLock::Turn::take() {
  const LockFileOptions& options = lock_.options_;
  if (!(mine_ = lock_threads()))
    return Error(ErrorKind::unavailable,
                 "The " + options.of_what + " is being written by other requests: " + options.path);
  // The lock counts only while the path still names the locked file.
  for (int i = 0; i < 3; ++i) {
    KMS_TRY(lock_.check_file());
    KMS_TRY(lock_.file_->lock(left()));
    if ((locked_ = lock_.file_->is_current())) return {};
    lock_.file_->unlock();
  }
  return Error(ErrorKind::unavailable,
               "The lock file of the " + options.of_what + " is being replaced: " + options.path);
}

// std::timed_mutex would do, but ThreadSanitizer does not know what it is made of.
bool WriteLock::Turn::lock_threads() {
  struct timespec until;
  ::clock_gettime(CLOCK_REALTIME, &until);
  const std::int64_t ns = until.tv_nsec + left() * std::int64_t{1000000};
  until.tv_sec += static_cast<time_t>(ns / 1000000000);
  until.tv_nsec = static_cast<long>(ns % 1000000000);
  return ::pthread_mutex_timedlock(lock_.threads_.native_handle(), &until) == 0;
}

int WriteLock::Turn::left() const {
  const std::int64_t ms = deadline_ - steady_ms();
  return ms > 0 ? static_cast<int>(ms) : 0;
}

}  // namespace kms
