// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "audit/aggregator.h"
#include "audit/audit.h"
#include "audit/denials.h"
#include "audit/line.h"
#include "audit/observed.h"
#include "core/clock.h"

namespace kms {
namespace {

std::shared_ptr<SharedAuditState> state_of_its_own() {
  auto state = SharedAuditState::create();
  if (!state.ok()) throw std::bad_alloc();
  return std::move(*state);
}

}  // namespace

AuditLog::AuditLog(std::unique_ptr<AuditWriter> writer, const Options& options)
    : AuditLog(std::move(writer), options, state_of_its_own()) {}

AuditLog::AuditLog(std::unique_ptr<AuditWriter> writer, const Options& options,
                   std::shared_ptr<SharedAuditState> state)
    : options_(options),
      state_(std::move(state)),
      writer_(std::move(writer)),
      observed_(std::make_unique<Observed>(*writer_, *state_, options_)),
      buffered_(options.buffered ? std::make_unique<Buffered>(*observed_, *state_, options_)
                                 : nullptr),
      out_(buffered_ ? static_cast<AuditWriter&>(*buffered_) : *observed_) {
  if (options_.window_ms > 0)
    aggregator_ = std::make_unique<Aggregator>(options_.format, options_.window_ms);
}

AuditLog::~AuditLog() = default;

Result<void> AuditLog::record(const AuditEvent& event) {
  return record(&event, 1);
}

Result<void> AuditLog::record(const AuditEvent* events, std::size_t count) {
  if (count == 0) return {};
  if (denials_ != nullptr) denials_->look_at(events, count);
  if (aggregator_) return aggregator_->record(events, count, out_);
  thread_local std::string lines;
  lines.clear();
  const std::int64_t now = now_ms();
  for (std::size_t i = 0; i < count; ++i)
    append_record(lines, options_.format, events[i], now, Accesses());
  return out_.write(lines);
}

void AuditLog::begin() {
  (void)observed_->begin();
}

void AuditLog::attach() {
  writer_->attach();
}

Result<void> AuditLog::sweep(std::int64_t now_steady_ms) {
  writer_->poll();
  if (buffered_) buffered_->poll();
  probe(now_steady_ms);
  return aggregator_ ? aggregator_->sweep(now_steady_ms, out_) : Result<void>();
}

// One process at a time, and not with a buffer, which tries by itself.
void AuditLog::probe(std::int64_t now_steady_ms) {
  AuditState& state = **state_;
  const std::int64_t since = state.failing_since_ms.load();
  std::int64_t due = state.next_probe_ms.load();
  if (since == 0 || buffered_ || now_steady_ms < due ||
      !state.next_probe_ms.compare_exchange_strong(due, now_steady_ms + options_.probe_ms))
    return;
  AuditEvent event;
  event.op = "AUDIT_RESUMED";
  const std::string extra = "Failures:" + std::to_string(state.failures.load()) +
                            " Seconds:" + std::to_string((now_ms() - since + 500) / 1000);
  event.extra = extra;
  std::string line;
  append_record(line, options_.format, event, now_ms(), Accesses());
  (void)observed_->write(line);  // a failure is noted there
}

Result<void> AuditLog::flush() {
  auto flushed = aggregator_ ? aggregator_->flush(steady_ms(), out_) : Result<void>();
  auto emptied = buffered_ ? buffered_->finish() : Result<void>();
  auto finished = writer_->finish();
  if (!flushed.ok()) return flushed;
  return emptied.ok() ? finished : emptied;
}

bool AuditLog::failing() const noexcept {
  return (*state_)->failing_since_ms.load(std::memory_order_relaxed) != 0;
}

AuditHealth AuditLog::health() const {
  AuditState& state = **state_;
  AuditHealth health;
  health.failing_since_ms = state.failing_since_ms.load();
  health.ok = health.failing_since_ms == 0;
  health.failures = state.failures.load();
  health.lost_lines = state.lost_lines.load();
  const SharedLock lock(state.text_lock);
  health.last_error = state.last_error;
  return health;
}

}  // namespace kms
