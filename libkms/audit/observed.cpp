// SPDX-License-Identifier: Apache-2.0
#include "audit/observed.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/clock.h"

namespace kms {
namespace {

// Lines that wait before the thread that adds one writes them all.
constexpr std::size_t kFlushBytes = 64 * 1024;
constexpr std::size_t kMostBytes = 1024 * 1024;

}  // namespace

Result<void> AuditLog::Observed::write(std::string_view lines) {
  const auto start = std::chrono::steady_clock::now();
  auto written = inner_.write(lines);
  if (options_.timed)
    options_.timed(std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::steady_clock::now() - start)
                       .count());
  if (!written.ok()) {
    failed(written.error());
    return written;
  }
  if (const auto since = state_.failing_since_ms.load(std::memory_order_relaxed); since != 0)
    recovered(since);
  return written;
}

Result<void> AuditLog::Observed::begin() {
  auto begun = inner_.begin();
  if (!begun.ok()) failed(begun.error());
  return begun;
}

void AuditLog::Observed::failed(const Error& error) {
  state_.failures.fetch_add(1, std::memory_order_relaxed);
  {
    const SharedLock lock(state_.text_lock);
    const std::size_t size = std::min(error.message.size(), sizeof state_.last_error - 1);
    std::memcpy(state_.last_error, error.message.data(), size);
    state_.last_error[size] = '\0';
  }
  std::int64_t fine = 0;
  if (!state_.failing_since_ms.compare_exchange_strong(fine, now_ms())) return;
  state_.next_probe_ms.store(steady_ms() + options_.probe_ms);
  if (options_.logger == nullptr) return;
  options_.logger->log(LogLevel::error, "KMS0401",
                       error.message + (options_.buffered ? "; records wait in memory"
                                                          : "; no request is served meanwhile"));
}

void AuditLog::Observed::recovered(std::int64_t since_ms) {
  if (!state_.failing_since_ms.compare_exchange_strong(since_ms, 0)) return;
  if (options_.logger == nullptr) return;
  options_.logger->log(LogLevel::notice, "KMS0402",
                       "The audit log takes records again, after " +
                           std::to_string((now_ms() - since_ms + 500) / 1000) + " s");
}

Result<void> AuditLog::Buffered::write(std::string_view lines) {
  const std::size_t waiting = add(lines);
  if (waiting != 0 && waiting < kFlushBytes) return {};
  if (waiting != 0) {
    // Somebody else at it will come back for these lines, or the next poll() will.
    if (std::unique_lock lock(out_, std::try_to_lock); lock.owns_lock()) (void)empty();
    return {};
  }
  // No room: of a slow log that makes callers wait, of a failing one it costs lines.
  if (state_.failing_since_ms.load(std::memory_order_relaxed) == 0) {
    const std::lock_guard lock(out_);
    (void)drain();
    if (add(lines) != 0) return {};
  }
  const auto lost = static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
  state_.lost_lines.fetch_add(lost, std::memory_order_relaxed);
  lost_.fetch_add(lost, std::memory_order_relaxed);
  return {};
}

// The bytes that wait now; 0: there is no room.
std::size_t AuditLog::Buffered::add(std::string_view lines) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() + lines.size() > kMostBytes) return 0;
  waiting_ += lines;
  return waiting_.size();
}

// Under out_. Lines that the writer may have taken in part are written again: twice is better than
// not at all.
Result<void> AuditLog::Buffered::empty() {
  if (going_.empty()) {
    const std::lock_guard lock(mutex_);
    going_.swap(waiting_);
  }
  if (going_.empty()) return {};
  auto written = inner_.write(going_);
  if (written.ok()) going_.clear();
  return written;
}

// What waited for a write that failed, and what came after it.
Result<void> AuditLog::Buffered::drain() {
  KMS_TRY(empty());
  return empty();
}

void AuditLog::Buffered::poll() {
  {
    const std::lock_guard lock(out_);
    (void)drain();
  }
  const std::uint64_t lost = lost_.exchange(0, std::memory_order_relaxed);
  if (lost > 0 && options_.logger != nullptr) {
    options_.logger->log(LogLevel::error, "KMS0403",
                         std::to_string(lost) + " lines of the audit log are lost");
  }
}

Result<void> AuditLog::Buffered::finish() {
  const std::lock_guard lock(out_);
  return drain();
}

}  // namespace kms
