// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "audit/audit.h"

namespace kmsctl {

// A line of an audit log, in the Java form or as JSON, as libkms/audit/line.h describes them.
struct AuditLine {
  std::string time;  // "2026-11-24 11:42:21,319" or "2026-11-24T11:42:21.319Z"
  kms::AuditStatus status = kms::AuditStatus::ok;
  std::string op, key, user;  // empty: not in the line; escapes of the Java form stay as they are
  std::string real_user;      // JSON only
  std::string extra;
  // A value holds the marks between values, has escapes or was cut: it may be another than it
  // seems.
  bool doubtful = false;
};

// nullopt: it is no such line. No newline at the end.
std::optional<AuditLine> parse_audit_line(std::string_view line);

}  // namespace kmsctl
