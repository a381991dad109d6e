// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "audit/aggregator.h"
#include "audit/audit.h"
#include "core/clock.h"

namespace kms {

AuditLog::AuditLog(std::unique_ptr<AuditWriter> writer, std::int64_t window_ms)
    : writer_(std::move(writer)) {
  if (window_ms > 0) aggregator_ = std::make_unique<Aggregator>(window_ms);
}

AuditLog::~AuditLog() = default;

Result<void> AuditLog::record(const AuditEvent& event) {
  return record(&event, 1);
}

Result<void> AuditLog::record(const AuditEvent* events, std::size_t count) {
  if (count == 0) return {};
  if (aggregator_) return aggregator_->record(events, count, *writer_);
  thread_local std::string lines;
  lines.clear();
  const std::int64_t now = now_ms();
  for (std::size_t i = 0; i < count; ++i) append_java_line(lines, events[i], now);
  return writer_->write(lines);
}

Result<void> AuditLog::sweep(std::int64_t now_steady_ms) {
  return aggregator_ ? aggregator_->sweep(now_steady_ms, *writer_) : Result<void>();
}

Result<void> AuditLog::flush() {
  return aggregator_ ? aggregator_->flush(steady_ms(), *writer_) : Result<void>();
}

}  // namespace kms
