// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "metrics/labels.h"

// Where each counter stands in the flat array that a shard is.
namespace kms {

// Upper bounds of the buckets: 50 us, doubled 18 times (13 s); one more for what takes longer.
inline constexpr std::int64_t kFirstBucketUs = 50;
inline constexpr std::size_t kBuckets = 19;

constexpr std::size_t bucket_of(std::int64_t us) {
  if (us <= kFirstBucketUs) return 0;
  const auto doublings = static_cast<std::size_t>(
      std::bit_width(static_cast<std::uint64_t>((us - 1) / kFirstBucketUs)));
  return doublings < kBuckets ? doublings : kBuckets;
}
constexpr double bucket_bound_s(std::size_t bucket) {
  return static_cast<double>(kFirstBucketUs << bucket) / 1e6;
}

namespace cells {

// A histogram: its buckets, the one beyond, the sum in microseconds.
inline constexpr std::size_t kHistogram = kBuckets + 2;

template <class E>
constexpr std::size_t at(E e) {
  return static_cast<std::size_t>(e);
}

inline constexpr std::size_t kRequests = 0;
inline constexpr std::size_t kDurations =
    kRequests + kMetricOpNames.size() * kMetricResultNames.size();
inline constexpr std::size_t kAuthOutcomes = kDurations + kMetricOpNames.size() * kHistogram;
inline constexpr std::size_t kMeters = kAuthOutcomes + kAuthOutcomeNames.size();
inline constexpr std::size_t kResponses = kMeters + kJavaMeterNames.size();  // 1xx to 5xx
inline constexpr std::size_t kResponseBytes = kResponses + 5;
inline constexpr std::size_t kHttpRequests = kResponseBytes + 1;
inline constexpr std::size_t kHttpUs = kHttpRequests + 1;
inline constexpr std::size_t kHttpSquares = kHttpUs + 1;  // of durations in units of 10 us
inline constexpr std::size_t kTokenChanges = kHttpSquares + 1;
inline constexpr std::size_t kTokenUs = kTokenChanges + kTokenChangeNames.size();
inline constexpr std::size_t kTokenFailures = kTokenUs + kTokenChangeNames.size();
inline constexpr std::size_t kGroupLookups = kTokenFailures + 1;
inline constexpr std::size_t kGroupUs = kGroupLookups + 1;
inline constexpr std::size_t kGroupFailures = kGroupUs + 1;
inline constexpr std::size_t kAuditWrites = kGroupFailures + 1;
inline constexpr std::size_t kKeystoreReads = kAuditWrites + kHistogram;
inline constexpr std::size_t kAclLoads = kKeystoreReads + 1;
inline constexpr std::size_t kAclFailures = kAclLoads + 1;
inline constexpr std::size_t kLogLines = kAclFailures + 1;
inline constexpr std::size_t kCount = kLogLines + kLogLevelNames.size();

constexpr std::size_t request(MetricOp op, MetricResult result) {
  return kRequests + at(op) * kMetricResultNames.size() + at(result);
}
constexpr std::size_t duration(MetricOp op) {
  return kDurations + at(op) * kHistogram;
}

}  // namespace cells

// Sums over all shards.
using MetricTotals = std::array<std::uint64_t, cells::kCount>;

}  // namespace kms
