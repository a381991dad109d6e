// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/health.h"

namespace kms {

// Of changes, where only the next one shows whether the last one's failure is over, and that may be
// hours away: it is forgotten after ten minutes.
class ChangeNote {
 public:
  static constexpr std::int64_t kForgetMs = 10 * 60 * 1000;

  void failed(const char* text) noexcept {
    failed_ms_.store(steady_ms(), std::memory_order_relaxed);
    note_.set(HealthState::degraded, text);
  }
  void good() noexcept { note_.good(); }
  Health read() const noexcept {
    const bool old = steady_ms() - failed_ms_.load(std::memory_order_relaxed) > kForgetMs;
    return old ? Health() : note_.read();
  }

 private:
  HealthNote note_;
  std::atomic<std::int64_t> failed_ms_{0};  // by the steady clock
};

}  // namespace kms
