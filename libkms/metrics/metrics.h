// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "metrics/cells.h"

namespace kms {

// One Java meter as it is read.
struct MeterRates {
  std::uint64_t count = 0;
  double mean = 0, one_minute = 0, five_minutes = 0, fifteen_minutes = 0;  // per second
};

// What a process says of itself.
struct ProcessFacts {
  std::int64_t resident_bytes = 0, open_fds = 0, threads = 0, cpu_us = 0;
};

// Of all processes together.
struct ProcessTotals : ProcessFacts {
  std::int64_t processes = 0, in_flight = 0, in_flight_max = 0;
};

// The counters of one KMS, in memory that all children of an httpd share and that outlives its
// restarts. Thread-safe, and safe against the death of any process at any point: nothing is locked.
// A count costs one relaxed addition in the shard of the thread.
class Metrics {
 public:
  // Bytes of the region; the name of the layout, for whoever keeps regions by name.
  static std::size_t region_bytes();
  // region: zero-filled, or one that was used with the same region_bytes before. It must outlive
  // the object. Null: memory of its own, for a process that is alone.
  static std::unique_ptr<Metrics> open(void* region);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // In each child, after the fork: takes a place for the facts of this process.
  void attach() noexcept;
  // At the end of a child.
  void detach() noexcept;

  void count(std::size_t cell, std::uint64_t by = 1) noexcept;
  void count_request(MetricOp op, MetricResult result, std::int64_t us) noexcept;
  void count_duration(std::size_t histogram, std::int64_t us) noexcept;
  void count_authentication(AuthOutcome outcome) noexcept {
    count(cells::kAuthOutcomes + cells::at(outcome));
  }
  void mark(JavaMeter meter) noexcept { count(cells::kMeters + cells::at(meter)); }
  // An answer has left. unset: Java's server would have left the status to its container.
  void count_response(int status, bool unset, std::uint64_t bytes, std::int64_t us) noexcept;
  void enter() noexcept;
  void leave() noexcept;

  // About once a second, from a thread of any child: publishes what this process needs, and where
  // it is the first to see that five seconds are over, moves the rates of all.
  void tick(std::int64_t now_steady_ms) noexcept;

  MetricTotals totals() const;
  MeterRates meter(JavaMeter meter, std::int64_t now_steady_ms) const;
  ProcessTotals processes() const;
  std::int64_t start_ms() const noexcept;  // now_ms() when the region was made
  std::int64_t uptime_ms(std::int64_t now_steady_ms) const noexcept;
  std::int64_t longest_us() const noexcept;

 private:
  struct Region;
  struct Shard;
  struct Place;
  Metrics(Region& region, std::unique_ptr<std::byte[]> own);
  Shard& shard() noexcept;
  void move_rates(std::int64_t now_steady_ms, std::int64_t due) noexcept;

  std::unique_ptr<std::byte[]> own_;
  Region& region_;
  Place* place_ = nullptr;
};

// Counts a request that is being worked on for as long as it lives.
class InFlight {
 public:
  explicit InFlight(Metrics& metrics) noexcept : metrics_(metrics) { metrics_.enter(); }
  ~InFlight() { metrics_.leave(); }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  Metrics& metrics_;
};

// This process, as /proc and the kernel say; zero for what they do not.
ProcessFacts own_process_facts() noexcept;

}  // namespace kms
