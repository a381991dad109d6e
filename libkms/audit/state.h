// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/result.h"
#include "core/shared_mutex.h"

namespace kms {

// What the processes of one httpd know together about their audit log. Lives in anonymous shared
// memory that is mapped before the fork; a process that dies leaves every part of it usable.
struct AuditState {
  // Health. failing_since_ms is all that a successful write looks at.
  std::atomic<std::int64_t> failing_since_ms{0};
  std::atomic<std::int64_t> next_probe_ms{0};
  std::atomic<std::uint64_t> failures{0}, lost_lines{0};
  SharedMutex text_lock;  // for last_error
  char last_error[512] = {};

  // The file.
  std::atomic<bool> torn{false};  // it ends in the middle of a line
  std::atomic<bool> deleted{false};
  std::atomic<bool> said_renamed{false}, said_truncated{false};

  struct Commit {  // group_commit.h
    SharedMutex lock;
    std::atomic<std::uint64_t> written{0}, synced{0}, failures{0};
    std::atomic<int> error{0};
  } commit;

  struct Pipe {  // pipe_writer.cpp
    std::atomic<std::uint64_t> begun{0}, done{0};
  } pipe;

  struct Chain {  // chain.h
    SharedMutex lock;
    char id[16] = {};
    struct Link {
      std::uint64_t number = 0;
      char hash[64] = {};
    } links[2];  // the one that counts, and the next while it is made
    std::atomic<int> current{0};
    // A write of the chain has begun and not succeeded: its lines may be there, in part.
    std::atomic<bool> unfinished{false};
    std::atomic<int> holders{0};
    std::atomic<std::int64_t> next_checkpoint_ms{0};
    std::atomic<std::uint64_t> checkpoint_number{0};
  } chain;
};

class SharedAuditState {
 public:
  // Error: the system gives no memory.
  static Result<std::shared_ptr<SharedAuditState>> create();
  explicit SharedAuditState(AuditState* state) : state_(state) {}
  ~SharedAuditState();
  SharedAuditState(const SharedAuditState&) = delete;
  SharedAuditState& operator=(const SharedAuditState&) = delete;
  AuditState* operator->() const noexcept { return state_; }
  AuditState& operator*() const noexcept { return *state_; }

 private:
  AuditState* state_;
};

}  // namespace kms
