// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "audit/audit.h"
#include "audit/state.h"

namespace kms {

// Keeps the health of the log: what the writer behind it says is noted for all processes, and the
// beginning and the end of a failure are said once.
class AuditLog::Observed final : public AuditWriter {
 public:
  Observed(AuditWriter& inner, SharedAuditState& state, const Options& options)
      : inner_(inner), state_(*state), options_(options) {}

  Result<void> write(std::string_view lines) override;
  Result<void> begin() override;

 private:
  void failed(const Error& error);
  void recovered(std::int64_t since_ms);

  AuditWriter& inner_;
  AuditState& state_;
  const Options& options_;
};

// AuditDurability::none: lines wait in memory until there are many of them, or for the next poll().
// A writer that fails loses nothing until the memory set aside is full; then the newest lines are
// lost, counted, and said.
class AuditLog::Buffered final : public AuditWriter {
 public:
  Buffered(AuditWriter& inner, SharedAuditState& state, const Options& options)
      : inner_(inner), state_(*state), options_(options) {}

  Result<void> write(std::string_view lines) override;
  void poll() override;
  Result<void> finish() override;

 private:
  std::size_t add(std::string_view lines);
  Result<void> empty();
  Result<void> drain();

  AuditWriter& inner_;
  AuditState& state_;
  const Options& options_;
  std::mutex out_;     // who writes to inner_; taken before mutex_
  std::string going_;  // under out_: what is being written
  std::mutex mutex_;
  std::string waiting_;
  std::atomic<std::uint64_t> lost_{0};  // since it was said
};

}  // namespace kms
