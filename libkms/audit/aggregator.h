// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "audit/audit.h"

namespace kms {

// Hadoop's counting of accesses (kms-auth.md section 7). The first access of a user to a key is
// written at once; later ones are counted, and a summary is written when the window ends. Then the
// count starts over, and a window without accesses forgets the entry. Nothing is forgotten that a
// failing writer did not take: the call fails, the counts stay.
class AuditLog::Aggregator {
 public:
  Aggregator(AuditFormat format, std::int64_t window_ms) : format_(format), window_ms_(window_ms) {}

  Result<void> record(const AuditEvent* events, std::size_t count, AuditWriter& writer);
  Result<void> sweep(std::int64_t now_steady_ms, AuditWriter& writer);
  Result<void> flush(std::int64_t now_steady_ms, AuditWriter& writer);

 private:
  struct Entry {
    std::string op, key, user, extra;
    std::int64_t first_ms = 0;       // steady; stays when the window starts over
    std::int64_t window_end_ms = 0;  // steady
    std::uint64_t count = 0;         // since the last line
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };
  using Entries = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;
  // How an entry was before a call whose write may fail; none: it was not there.
  struct Before {
    std::string name;
    std::optional<Entry> entry;
  };

  void plan(const AuditEvent& event, std::int64_t now, std::string& text,
            std::vector<Before>& undo);
  void plan_access(const AuditEvent& event, std::string_view name, std::int64_t now,
                   std::string& text, std::vector<Before>& undo);
  void append_summary(std::string& text, const Entry& entry, std::uint64_t count,
                      std::int64_t now) const;
  void rearm(Entry& entry, std::int64_t now) const;
  Result<void> write_summaries(std::int64_t now, bool all, AuditWriter& writer);
  Result<void> put(AuditWriter& writer, std::string_view text);

  const AuditFormat format_;
  const std::int64_t window_ms_;
  std::atomic<std::int64_t> next_sweep_ms_{0};
  // The last write failed. Then nothing is only counted: an access that is not on its way to the
  // disk must not be granted.
  std::atomic<bool> failing_{false};
  std::mutex mutex_;
  Entries entries_;
};

}  // namespace kms
