// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "keystore/postgres/connection.h"

namespace kms::postgres {

// The connections of one process, opened when they are needed, hence after the fork. Thread-safe.
class Pool {
 public:
  // fresh is called with each new connection; its error closes it.
  using Fresh = std::function<Result<void>(Connection&)>;
  Pool(const ServerOptions& options, std::size_t most, Fresh fresh)
      : options_(options), most_(most), fresh_(std::move(fresh)) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Statements that change nothing. They are tried again on a fault that may pass, until the
  // deadline; so work may run more than once.
  using Work = std::function<Result<void>(Connection&)>;
  Result<void> read(Deadline deadline, const Work& work);

  // A transaction around work. It is tried again as a whole after a conflict or a lost connection.
  // When a COMMIT got no answer, outcome finds out, in a transaction of its own, whether it was
  // carried out; it must wait for the one in doubt. unavailable when that is not known by the
  // deadline.
  using Outcome = std::function<Result<bool>(Connection&)>;
  Result<void> transaction(Deadline deadline, const Work& work, const Outcome& outcome);

  // Somebody has met another server that takes changes: earlier failures say nothing any more.
  void server_found() noexcept;

  // Closes what is idle, and gives no more connections. For the end of the process.
  void close() noexcept;

 private:
  class Lease;
  Result<std::unique_ptr<Connection>> take(Deadline deadline);
  Result<std::unique_ptr<Connection>> open(Deadline deadline);
  void give(std::unique_ptr<Connection> connection) noexcept;
  Result<void> find_out(Deadline deadline, const Outcome& outcome, bool& carried_out);

  const ServerOptions& options_;
  const std::size_t most_;
  const Fresh fresh_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::size_t open_ = 0;  // idle, in use, or being opened
  bool closed_ = false;
  std::size_t host_ = 0;            // that worked last
  std::int64_t not_before_ms_ = 0;  // no new connection before, since the last one failed
  std::string last_failure_;
  std::uint64_t servers_ = 0;  // how many were found
};

}  // namespace kms::postgres
