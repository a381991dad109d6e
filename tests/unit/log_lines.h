// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/log.h"
#include "unit.h"

namespace unit {

// Keeps what is logged, from any thread.
class LogLines final : public kms::Logger {
 public:
  void log(kms::LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::string(id) + ": " + std::string(text));
  }
  // What was said since the last call of take().
  std::vector<std::string> all() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  // The same, which is then forgotten.
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }
  void assert_said(std::string_view id) {
    const auto lines = take();
    if (lines.size() == 1 && lines[0].starts_with(id)) return;
    for (const auto& line : lines) print_error("%s\n", line.c_str());
    _fail(std::string(id).c_str(), static_cast<int>(lines.size()));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace unit
