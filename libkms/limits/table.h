// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace kms {

// The counts of limits and alarms, in memory that the parent maps before the fork and keeps over
// graceful restarts. No lock: each word changes by itself, so that a process killed anywhere leaves
// the table usable. Times are nanoseconds of the steady clock, which all processes share.
//
// A name is known by a keyed 64-bit hash (SipHash, key drawn at the start), together with what
// counts it. An entry whose times are over is as good as none and is given to the next name that
// needs room, so memory is bounded and nothing that counts is ever dropped. When all places of a
// name are in use, it is counted in a place that such names share: never too little, at times too
// much.
class LimitTable {
 public:
  struct Entry {
    std::atomic<std::uint64_t> id{0};
    // Of a limit: when the bucket will be full again (the theoretical arrival time of the generic
    // cell rate algorithm). Of an alarm: until when the counts matter.
    std::atomic<std::int64_t> busy_until{0};
    std::atomic<std::uint64_t> window{0};      // of an alarm: see count()
    std::atomic<std::int64_t> quiet_until{0};  // no line in the error log before
  };
  static constexpr std::size_t kWays = 8;  // places a name may have
  static constexpr std::size_t kEntries = 32768;
  static constexpr std::size_t kShared = 64;

  // Of all processes since the first start; for the status page and metrics.
  struct Counters {
    std::atomic<std::uint64_t> refused_user{0}, refused_key{0}, alarms_user{0}, alarms_key{0};
    std::atomic<std::uint64_t> shared{0};             // operations counted in a shared place
    std::atomic<std::int64_t> shared_quiet_until{0};  // no line about it before
    std::atomic<std::int64_t> lines_until{0};         // budget of lines for the error log
    std::atomic<std::uint64_t> lines_left_out{0};
  };

  static const std::size_t kBytes;
  // Which memory may be used by which code; part of the region's name.
  static constexpr int kLayout = 1;

  // Prepares a zero-filled region of kBytes, in the parent; keeps what another generation prepared.
  // Errors: internal, when OpenSSL has no randomness or no SipHash.
  static Result<void> prepare(void* region);
  explicit LimitTable(void* region);

  // Who counts: a tag that stays the same over restarts, and which of the shared places is his.
  struct Counted {
    std::string_view tag;
    std::size_t place;
  };
  Entry& find(const Counted& counted, std::string_view name, std::int64_t now) noexcept;
  bool is_shared(const Entry& entry) const noexcept;
  Counters& counters() noexcept;

 private:
  struct Region;
  std::uint64_t identity(std::string_view tag, std::string_view name) const noexcept;
  Region& region_;
};

// Takes cost out of a bucket of capacity that one period_ns / rate fills by one. What is dearer
// than the whole bucket is let through when that is full, and paid off afterwards. 0: taken; else
// how long to wait, in ns, and nothing is taken.
struct Bucket {
  std::int64_t interval_ns;  // for one operation
  std::int64_t capacity;     // operations
};
std::int64_t take(LimitTable::Entry& entry, const Bucket& bucket, std::int64_t cost,
                  std::int64_t now) noexcept;
void give_back(LimitTable::Entry& entry, const Bucket& bucket, std::int64_t cost) noexcept;

// Counts one event and says how many there were in the window that ends now: those of this fixed
// window, and of the one before the share that still lies inside.
std::int64_t count(LimitTable::Entry& entry, std::int64_t window_ns, std::int64_t now) noexcept;

// True for one caller of all, who may write a line now.
bool may_speak(std::atomic<std::int64_t>& quiet_until, std::int64_t pause_ns,
               std::int64_t now) noexcept;

}  // namespace kms
