// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "audit/audit.h"

namespace kms {

// A line never has more bytes, newline included: a pipe takes that much at once, so that lines of
// several children cannot mix in a piped log (PIPE_BUF of Linux). Longer values are cut in the
// middle, and the line says so.
inline constexpr std::size_t kMaxAuditLine = 4096;

struct Accesses {
  std::uint64_t count = 1;
  std::int64_t interval_ms = 0;
};

// Whether Hadoop counts this event instead of writing each: one of five operations, with user and
// key.
bool is_aggregated(const AuditEvent& event);

// append_java_line with the counters that aggregated events show when they succeed.
void append_line(std::string& out, const AuditEvent& event, std::int64_t time_ms,
                 const Accesses& accesses);

// value as it stands in a line: printable ASCII and other well-formed UTF-8 as it is; controls
// (C0, DEL, C1), line and paragraph separators and bidirectional overrides as \n, \u0085; bytes
// that are no UTF-8 as \xff.
void append_escaped(std::string& out, std::string_view value);

}  // namespace kms
