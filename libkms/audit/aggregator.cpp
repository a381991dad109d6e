// SPDX-License-Identifier: Apache-2.0
#include "audit/aggregator.h"

#include <algorithm>
#include <utility>

#include "audit/line.h"
#include "core/clock.h"

namespace kms {
namespace {

// Bounds the memory that made-up user names can take; accesses beyond are written one by one.
constexpr std::size_t kMaxEntries = 100000;

// user, key and operation in one text that no other three give.
std::string_view name_of(const AuditEvent& event) {
  thread_local std::string name;
  name.assign(event.op);
  name.append("#").append(std::to_string(event.user.size())).append("#");
  name.append(event.user).append(*event.key);
  return name;
}

bool is_counted(const AuditEvent& event) {
  return event.status == AuditStatus::ok && is_aggregated(event);
}

}  // namespace

Result<void> AuditLog::Aggregator::put(AuditWriter& writer, std::string_view text) {
  if (text.empty()) return {};
  auto written = writer.write(text);
  failing_.store(!written.ok(), std::memory_order_relaxed);
  return written;
}

void AuditLog::Aggregator::append_summary(std::string& text, const Entry& entry,
                                          std::uint64_t count, std::int64_t now) const {
  AuditEvent event;
  event.op = entry.op;
  event.key = entry.key;
  event.user = entry.user;
  event.extra = entry.extra;
  append_record(text, format_, event, now_ms(),
                {count, std::max<std::int64_t>(0, now - entry.first_ms)});
}

void AuditLog::Aggregator::rearm(Entry& entry, std::int64_t now) const {
  entry.count = 0;
  entry.window_end_ms = now + window_ms_;
}

void AuditLog::Aggregator::plan_access(const AuditEvent& event, std::string_view name,
                                       std::int64_t now, std::string& text,
                                       std::vector<Before>& undo) {
  if (const auto found = entries_.find(name); found != entries_.end()) {
    Entry& entry = found->second;
    undo.push_back({found->first, entry});
    ++entry.count;
    if (!failing_.load(std::memory_order_relaxed)) return;
    append_summary(text, entry, entry.count, now);
    rearm(entry, now);
    return;
  }
  append_record(text, format_, event, now_ms(), Accesses());
  if (entries_.size() >= kMaxEntries) return;
  undo.push_back({std::string(name), std::nullopt});
  Entry& entry = entries_[std::string(name)];
  entry.op = event.op;
  entry.key = *event.key;
  entry.user = event.user;
  entry.extra = event.extra;
  entry.first_ms = now;
  entry.window_end_ms = now + window_ms_;
  entry.count = 1;
}

void AuditLog::Aggregator::plan(const AuditEvent& event, std::int64_t now, std::string& text,
                                std::vector<Before>& undo) {
  if (is_counted(event)) {
    plan_access(event, name_of(event), now, text, undo);
    return;
  }
  // A denial ends the window: what was counted goes before it.
  if (event.status == AuditStatus::unauthorized && is_aggregated(event)) {
    if (const auto found = entries_.find(name_of(event)); found != entries_.end()) {
      undo.push_back({found->first, found->second});
      if (found->second.count > 0) {
        append_summary(text, found->second, found->second.count, now);
        rearm(found->second, now);
      } else {
        entries_.erase(found);
      }
    }
  }
  append_record(text, format_, event, now_ms(), Accesses());
}

Result<void> AuditLog::Aggregator::record(const AuditEvent* events, std::size_t count,
                                          AuditWriter& writer) {
  thread_local std::string text;
  text.clear();
  if (std::none_of(events, events + count, is_aggregated)) {
    for (std::size_t i = 0; i < count; ++i)
      append_record(text, format_, events[i], now_ms(), Accesses());
    return put(writer, text);
  }

  const std::int64_t now = steady_ms();
  const std::lock_guard lock(mutex_);
  // The case of nearly every request: one more of what is counted already.
  if (count == 1 && is_counted(*events) && !failing_.load(std::memory_order_relaxed)) {
    if (const auto found = entries_.find(name_of(*events)); found != entries_.end()) {
      ++found->second.count;
      return {};
    }
  }
  std::vector<Before> undo;
  for (std::size_t i = 0; i < count; ++i) plan(events[i], now, text, undo);
  auto written = put(writer, text);
  if (written.ok()) return written;
  for (auto before = undo.rbegin(); before != undo.rend(); ++before) {
    if (before->entry) {
      entries_[before->name] = std::move(*before->entry);
    } else {
      entries_.erase(before->name);
    }
  }
  return written;
}

// Writes the summaries that are due, or all. Holds the mutex while it writes: accesses that come
// meanwhile must not get in between a summary and the new start of its window.
Result<void> AuditLog::Aggregator::write_summaries(std::int64_t now, bool all,
                                                   AuditWriter& writer) {
  std::string text, line;
  std::vector<Entry*> in_text;
  auto write_text = [&]() -> Result<void> {
    KMS_TRY(put(writer, text));
    for (Entry* entry : in_text) rearm(*entry, now);
    text.clear();
    in_text.clear();
    return {};
  };
  for (auto it = entries_.begin(); it != entries_.end();) {
    Entry& entry = it->second;
    if (!all && entry.window_end_ms > now) {
      ++it;
      continue;
    }
    if (entry.count == 0) {
      it = entries_.erase(it);
      continue;
    }
    line.clear();
    append_summary(line, entry, entry.count, now);
    if (text.size() + line.size() > kMaxAuditLine) KMS_TRY(write_text());
    text += line;
    in_text.push_back(&entry);
    ++it;
  }
  return write_text();
}

Result<void> AuditLog::Aggregator::sweep(std::int64_t now_steady_ms, AuditWriter& writer) {
  if (now_steady_ms < next_sweep_ms_.load(std::memory_order_relaxed)) return {};
  const std::lock_guard lock(mutex_);
  KMS_TRY(write_summaries(now_steady_ms, false, writer));
  next_sweep_ms_.store(now_steady_ms + std::max<std::int64_t>(1, window_ms_ / 10),
                       std::memory_order_relaxed);
  return {};
}

Result<void> AuditLog::Aggregator::flush(std::int64_t now_steady_ms, AuditWriter& writer) {
  const std::lock_guard lock(mutex_);
  KMS_TRY(write_summaries(now_steady_ms, true, writer));
  entries_.clear();
  return {};
}

}  // namespace kms
