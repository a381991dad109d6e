// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "audit/audit.h"
#include "audit/writers.h"
#include "unit.h"

namespace unit {

class LogLines final : public kms::Logger {
 public:
  void log(kms::LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::string(id) + ": " + std::string(text));
  }
  // What was said since the last call.
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::move(lines_);
  }
  void assert_said(std::string_view id) {
    const auto lines = take();
    if (lines.size() == 1 && lines[0].starts_with(id)) return;
    for (const auto& line : lines) print_error("%s\n", line.c_str());
    _fail(std::string(id).c_str(), static_cast<int>(lines.size()));
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

inline kms::AuditWriterParts writer_parts(kms::Logger* logger = nullptr) {
  kms::AuditWriterParts parts;
  parts.name = "audit.log";
  parts.state = *kms::SharedAuditState::create();
  parts.logger = logger;
  return parts;
}

inline std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

inline void assert_error(const kms::Result<void>& result, std::string_view text) {
  assert_false(result.ok());
  assert_true(result.error().kind == kms::ErrorKind::unavailable);
  assert_text(result.error().message, text);
}

inline kms::Result<void> record(kms::AuditLog& log, std::string_view op, std::string_view key = "k",
                                std::string_view user = "alice") {
  kms::AuditEvent event;
  event.op = op;
  event.key = key;
  event.user = user;
  return log.record(event);
}

}  // namespace unit
