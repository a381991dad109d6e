// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "audit/audit.h"
#include "core/result.h"

namespace kms {

// With this an ERROR record says that a limit refused the operation.
inline constexpr std::string_view kRateLimitMark = "RateLimit:";

// The last denials of all processes, for the status page: what the audit log was told of ACLs, of
// failed authentication and of limits. In memory that the parent maps before the fork and keeps
// over graceful restarts. Thread-safe; takes a lock that is held for a copy of some hundred bytes.
class DenialRing {
 public:
  static constexpr std::size_t kEntries = 50;
  static const std::size_t kBytes;
  static constexpr int kLayout = 1;  // part of the region's name

  // Prepares a zero-filled region of kBytes, in the parent; keeps what is there already.
  static void prepare(void* region);
  explicit DenialRing(void* region);

  void look_at(const AuditEvent* events, std::size_t count) noexcept;

  struct Denial {
    std::int64_t time_ms = 0;
    AuditStatus status = AuditStatus::unauthorized;
    // Cut where they are longer than some hundred bytes.
    std::string user, op, key, reason, remote_address;
  };
  std::vector<Denial> last() const;  // newest first
  std::uint64_t count() const;       // since the start

 private:
  struct Entry;
  struct Region;
  void add(const AuditEvent& event) noexcept;
  Region& region_;
};

}  // namespace kms
