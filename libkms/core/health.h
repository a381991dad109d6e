// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "core/clock.h"

namespace kms {

// degraded: it serves, with less than it should (read-only, old rules). failing: it does not.
enum class HealthState : std::uint8_t { good, degraded, failing };

constexpr const char* health_word(HealthState state) noexcept {
  return state == HealthState::good       ? "ok"
         : state == HealthState::degraded ? "degraded"
                                          : "failing";
}

struct Health {
  HealthState state = HealthState::good;
  std::int64_t since_ms = 0;  // now_ms() when it came to this; 0 when good
  const char* text = "";      // a fixed text, without names or paths
};

// How one part of a process is, noted by whoever finds out and read by a page at any time: no lock,
// no look at the part itself. text must live as long as the program. A reader may see the time of
// one note with the text of the next, for a moment.
class HealthNote {
 public:
  void set(HealthState state, const char* text) noexcept {
    const HealthState before = state_.exchange(state, std::memory_order_relaxed);
    if (state == HealthState::good)
      since_ms_.store(0, std::memory_order_relaxed);
    else if (before == HealthState::good)
      since_ms_.store(now_ms(), std::memory_order_relaxed);
    text_.store(text, std::memory_order_relaxed);
  }
  void good() noexcept {
    if (state_.load(std::memory_order_relaxed) != HealthState::good) set(HealthState::good, "");
  }
  Health read() const noexcept {
    return {state_.load(std::memory_order_relaxed), since_ms_.load(std::memory_order_relaxed),
            text_.load(std::memory_order_relaxed)};
  }

 private:
  std::atomic<HealthState> state_{HealthState::good};
  std::atomic<std::int64_t> since_ms_{0};
  std::atomic<const char*> text_{""};
};

}  // namespace kms
