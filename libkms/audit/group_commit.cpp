// SPDX-License-Identifier: Apache-2.0
#include "audit/group_commit.h"

#include <cerrno>

namespace kms {

int GroupCommit::wait(std::uint64_t begun) {
  const std::uint64_t mine = shared_.written.fetch_add(1, std::memory_order_acq_rel) + 1;
  std::unique_lock lock(mutex_);
  for (;;) {
    // In this order: a sync that covers the write is no proof when one before it has failed.
    const bool covered = shared_.synced.load(std::memory_order_acquire) >= mine;
    if (shared_.failures.load(std::memory_order_acquire) != begun)
      return shared_.error.load(std::memory_order_relaxed);
    if (covered) return 0;
    if (leading_) {
      wake_.wait(lock);
      continue;
    }
    leading_ = true;
    lock.unlock();
    lead(mine);
    lock.lock();
    leading_ = false;
    wake_.notify_all();
  }
}

void GroupCommit::lead(std::uint64_t mine) {
  const SharedLock lock(shared_.lock);
  auto fail = [&](int error) {
    shared_.error.store(error, std::memory_order_relaxed);
    shared_.failures.fetch_add(1, std::memory_order_release);
  };
  // It may have been told of a failure that nobody is told of again.
  if (lock.owner_died()) return fail(EOWNERDEAD);
  if (shared_.synced.load(std::memory_order_acquire) >= mine) return;
  const std::uint64_t all = shared_.written.load(std::memory_order_acquire);
  if (const int error = sync_(); error != 0) return fail(error);
  shared_.synced.store(all, std::memory_order_release);
}

}  // namespace kms
