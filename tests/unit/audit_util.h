// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "audit/audit.h"
#include "audit/writers.h"
#include "log_lines.h"
#include "unit.h"

namespace unit {

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
