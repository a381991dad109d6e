// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "audit/state.h"

namespace kms {

// One sync for all who wait, in all processes that share the file: of the threads of a process one
// leads and the others wait for it, and of the leaders of all processes one syncs at a time.
//
// The processes share one open file description (it is opened before the fork, as root), and the
// kernel tells a failed write-back to the first fsync on a description and to no later one. So a
// failure that one process is told counts for everybody who had begun to write before it: that is
// what the counter of failures is for.
class GroupCommit {
 public:
  // sync gives 0 or the error number.
  GroupCommit(AuditState::Commit& shared, std::function<int()> sync)
      : shared_(shared), sync_(std::move(sync)) {}

  // Before the write; the value goes to wait().
  std::uint64_t begin() const noexcept { return shared_.failures.load(std::memory_order_acquire); }
  // After the write: returns once it is durable, with 0, or once that cannot be told, with an error
  // number; EOWNERDEAD when the process that synced for all ended before it could say how it went.
  int wait(std::uint64_t begun);

 private:
  void lead(std::uint64_t mine);

  AuditState::Commit& shared_;
  const std::function<int()> sync_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool leading_ = false;
};

}  // namespace kms
