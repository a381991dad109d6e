// SPDX-License-Identifier: Apache-2.0
#include "audit/line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <limits>

#include "core/utf8.h"

namespace kms {
namespace {

// Bytes of each value after escaping. With the fixed text they stay below kMaxUnmarkedLine.
constexpr std::size_t kMaxOp = 64;
constexpr std::size_t kMaxKey = 1000;
constexpr std::size_t kMaxUser = 500;
constexpr std::size_t kMaxExtra = 2200;

constexpr std::array<std::string_view, 5> kAggregatedOps = {
    "DECRYPT_EEK", "GENERATE_EEK", "GET_CURRENT_KEY", "GET_KEY_VERSION", "REENCRYPT_EEK"};

template <class Number>
void append_number(std::string& out, Number number) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  out.append(text, static_cast<std::size_t>(end - text));
}

// "2026-11-24 11:42:21,319 " in local time. The C library takes a lock for the time zone, so each
// thread asks it once for each second.
void append_time(std::string& out, std::int64_t time_ms) {
  thread_local std::int64_t second = std::numeric_limits<std::int64_t>::min();
  thread_local char text[32];
  std::int64_t seconds = time_ms / 1000;
  std::int64_t ms = time_ms % 1000;
  if (ms < 0) {
    ms += 1000;
    --seconds;
  }
  if (seconds != second) {
    const std::time_t wanted = static_cast<std::time_t>(seconds);
    std::tm t{};
    localtime_r(&wanted, &t);
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &t);
    second = seconds;
  }
  out += text;
  const char fraction[] = {',', static_cast<char>('0' + ms / 100),
                           static_cast<char>('0' + ms / 10 % 10), static_cast<char>('0' + ms % 10),
                           ' '};
  out.append(fraction, sizeof fraction);
}

bool is_plain(char c) {
  return c >= ' ' && c <= '~';
}

// Characters that a viewer may take for the end of a line or that change how it is read.
bool is_disguise(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

void append_escape(std::string& out, char32_t c) {
  switch (c) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  char text[16];
  std::snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(c));
  out += text;
}

void append_value(std::string& out, std::string_view value, std::size_t limit) {
  const std::size_t start = out.size();
  append_escaped(out, value);
  if (out.size() - start > limit) cut_middle(out, start, limit);
}

}  // namespace

std::string_view status_text(AuditStatus status) {
  switch (status) {
    case AuditStatus::ok:
      return "OK";
    case AuditStatus::unauthorized:
      return "UNAUTHORIZED";
    case AuditStatus::unauthenticated:
      return "UNAUTHENTICATED";
    case AuditStatus::error:
      break;
  }
  return "ERROR";
}

void cut_middle(std::string& out, std::size_t start, std::size_t limit) {
  auto inside_character = [&](std::size_t at) {
    return (static_cast<unsigned char>(out[at]) & 0xc0) == 0x80;
  };
  const std::size_t kept = (limit - kCutMarker) / 2;
  std::size_t from = start + kept;
  while (from > start && inside_character(from)) --from;
  std::size_t to = out.size() - kept;
  while (to < out.size() && inside_character(to)) ++to;
  char marker[kCutMarker];
  const int n = std::snprintf(marker, sizeof marker, "...[%zu bytes left out]...", to - from);
  out.replace(from, to - from, marker, static_cast<std::size_t>(n));
}

void append_escaped(std::string& out, std::string_view value) {
  while (!value.empty()) {
    const auto odd = std::find_if_not(value.begin(), value.end(), is_plain);
    const std::size_t plain = static_cast<std::size_t>(odd - value.begin());
    out.append(value.substr(0, plain));
    value.remove_prefix(plain);
    if (value.empty()) return;

    const Utf8Step step = utf8_step(as_bytes(value));
    const std::string_view sequence = value.substr(0, step.length);
    value.remove_prefix(step.length);
    if (!step.well_formed) {
      for (const char c : sequence) {
        char text[8];
        std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c));
        out += text;
      }
      continue;
    }
    const char32_t character = utf8_character(as_bytes(sequence));
    if (is_disguise(character)) {
      append_escape(out, character);
    } else {
      out.append(sequence);
    }
  }
}

bool is_aggregated(const AuditEvent& event) {
  return !event.user.empty() && event.key && !event.key->empty() &&
         std::find(kAggregatedOps.begin(), kAggregatedOps.end(), event.op) != kAggregatedOps.end();
}

void append_java_line(std::string& out, const AuditEvent& event, std::int64_t time_ms,
                      const Accesses& accesses) {
  append_time(out, time_ms);
  out += status_text(event.status);
  bool any = false;
  auto part = [&](std::string_view name, std::string_view value, std::size_t limit) {
    if (value.empty()) return;
    out += any ? ", " : "[";
    any = true;
    out += name;
    append_value(out, value, limit);
  };
  part("op=", event.op, kMaxOp);
  part("key=", event.key.value_or(std::string_view()), kMaxKey);
  part("user=", event.user, kMaxUser);
  if (event.status == AuditStatus::ok && is_aggregated(event)) {
    out += ", accessCount=";
    append_number(out, accesses.count);
    out += ", interval=";
    append_number(out, accesses.interval_ms);
    out += "ms";
  }
  out += any ? "] " : " ";
  append_value(out, event.extra, kMaxExtra);
  out += '\n';
}

void append_record(std::string& out, AuditFormat format, const AuditEvent& event,
                   std::int64_t time_ms, const Accesses& accesses) {
  if (format == AuditFormat::json) {
    append_json_line(out, event, time_ms, accesses);
  } else {
    append_java_line(out, event, time_ms, accesses);
  }
}

}  // namespace kms
