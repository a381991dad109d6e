// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "audit/audit.h"
#include "audit/chain_mark.h"

namespace kms {

// A line never has more bytes, newline and the mark of a chain included: a pipe takes that much at
// once, so that lines of several children cannot mix in a piped log (PIPE_BUF of Linux). Longer
// values are cut in the middle, and the line says so.
inline constexpr std::size_t kMaxAuditLine = 4096;
inline constexpr std::size_t kMaxUnmarkedLine = kMaxAuditLine - kMaxChainMark;

struct Accesses {
  std::uint64_t count = 1;
  std::int64_t interval_ms = 0;
};

// Whether Hadoop counts this event instead of writing each: one of five operations, with user and
// key.
bool is_aggregated(const AuditEvent& event);

// A line with its newline. The five operations that Hadoop counts also show accesses when they
// succeed.
void append_record(std::string& out, AuditFormat format, const AuditEvent& event,
                   std::int64_t time_ms, const Accesses& accesses);

// "2026-11-24 11:42:21,319 OK[op=…, key=…, user=…] extra\n", local time, as Hadoop's
// SimpleKMSAuditLogger with its log4j layout. Control characters in values are escaped (\n -> \n),
// so that a name cannot forge a line, and over-long values are cut in the middle; Java does
// neither, see docs/compatibility.md.
void append_java_line(std::string& out, const AuditEvent& event, std::int64_t time_ms,
                      const Accesses& accesses);

// {"time":"2026-11-24T11:42:21.319Z","status":"OK","operation":…,"key":…,"version":…,"user":…,
// "realUser":…,"remoteAddress":…,"requestId":…,"durationMs":1.042,"accessCount":1,"intervalMs":0,
// "detail":…}, ASCII only; what is not known is left out. Values are JSON's own escapes, so that a
// reader gets them back as they were; over-long ones are cut in the middle.
void append_json_line(std::string& out, const AuditEvent& event, std::int64_t time_ms,
                      const Accesses& accesses);

std::string_view status_text(AuditStatus status);

// Takes the middle out of what out holds from start on, so that at most limit bytes stay, and says
// so there: the beginning tells what it was, the end holds the message of a failure. Characters
// (UTF-8) stay whole. limit is at least kCutMarker.
inline constexpr std::size_t kCutMarker = 48;
void cut_middle(std::string& out, std::size_t start, std::size_t limit);

// value as it stands in a line: printable ASCII and other well-formed UTF-8 as it is; controls
// (C0, DEL, C1), line and paragraph separators and bidirectional overrides as \n, \u0085; bytes
// that are no UTF-8 as \xff.
void append_escaped(std::string& out, std::string_view value);

}  // namespace kms
