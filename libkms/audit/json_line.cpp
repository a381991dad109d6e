// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <limits>
#include <memory>

#include "audit/line.h"
#include "core/clock.h"
#include "core/utf8.h"

namespace kms {
namespace {

// Bytes of each value as it is written. What the others leave is for the detail, whose end often
// says why.
constexpr std::size_t kMaxOp = 64;
constexpr std::size_t kMaxKey = 900;
constexpr std::size_t kMaxUser = 500;
constexpr std::size_t kMaxAddress = 64;
constexpr std::size_t kMaxRequestId = 128;
constexpr std::size_t kFixedText = 340;  // names of the members, numbers, time
constexpr std::size_t kLeastDetail = 200;
static_assert(kMaxOp + 2 * kMaxKey + 2 * kMaxUser + kMaxAddress + kMaxRequestId + kFixedText +
                  kLeastDetail <=
              kMaxUnmarkedLine);

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};

// Bytes that a character takes in JSON of ASCII only.
std::size_t written_size(char32_t c) {
  if (c >= 0x10000) return 12;
  if (c == '"' || c == '\\' || c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t')
    return 2;
  return c < 0x20 || c > 0x7e ? 6 : 1;
}

std::size_t written_size(std::string_view text) {
  std::size_t size = 0;
  while (!text.empty()) {
    const std::size_t length = utf8_step(as_bytes(text)).length;
    size += written_size(utf8_character(as_bytes(text.substr(0, length))));
    text.remove_prefix(length);
  }
  return size;
}

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(as_bytes(text));
    if (!step.well_formed) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

// The object of one line. Counts what it takes.
class Line {
 public:
  void add(const char* name, std::string_view value, std::size_t limit) {
    if (value.empty()) return;
    std::size_t size = value.size();
    if (!is_plain(value) || size > limit) {
      value = fitted(value, limit);
      size = written_size(value);
    }
    used_ += size;
    put(name, json_stringn_nocheck(value.data(), value.size()));
  }
  void put(const char* name, json_t* value) {
    json_object_set_new_nocheck(object_.get(), name, value);
  }
  std::size_t used() const { return used_; }

  void append_to(std::string& out) const {
    const std::size_t start = out.size();
    json_dump_callback(
        object_.get(),
        [](const char* data, std::size_t size, void* text) {
          static_cast<std::string*>(text)->append(data, size);
          return 0;
        },
        &out, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12));
    // The one control character that jansson leaves as it is.
    for (std::size_t at = start; (at = out.find('\x7f', at)) != std::string::npos;)
      out.replace(at, 1, "\\u007f");
    out += '\n';
  }

 private:
  // In a form that takes no more than limit bytes. Bytes that are no UTF-8 become "\xff".
  std::string_view fitted(std::string_view value, std::size_t limit) {
    whole_.clear();
    if (is_utf8(value)) {
      whole_ = value;
    } else {
      append_escaped(whole_, value);
    }
    text_ = whole_;
    for (std::size_t keep = std::min(limit, text_.size()); written_size(text_) > limit;
         keep = keep * 3 / 4) {
      text_ = whole_;
      cut_middle(text_, 0, std::max(keep, kCutMarker));
    }
    return text_;
  }

  std::unique_ptr<json_t, JsonFree> object_{json_object()};
  std::string whole_, text_;
  std::size_t used_ = 0;
};

// "2026-11-24T11:42:21.319Z"
std::string_view time_text(std::int64_t time_ms) {
  thread_local std::int64_t second = std::numeric_limits<std::int64_t>::min();
  thread_local char text[40];
  thread_local std::size_t length = 0;
  std::int64_t seconds = time_ms / 1000;
  std::int64_t ms = time_ms % 1000;
  if (ms < 0) {
    ms += 1000;
    --seconds;
  }
  if (seconds != second) {
    const std::time_t wanted = static_cast<std::time_t>(seconds);
    std::tm t{};
    gmtime_r(&wanted, &t);
    length = std::strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &t);
    second = seconds;
  }
  text[length] = '.';
  text[length + 1] = static_cast<char>('0' + ms / 100);
  text[length + 2] = static_cast<char>('0' + ms / 10 % 10);
  text[length + 3] = static_cast<char>('0' + ms % 10);
  text[length + 4] = 'Z';
  return {text, length + 5};
}

}  // namespace

void append_json_line(std::string& out, const AuditEvent& event, std::int64_t time_ms,
                      const Accesses& accesses) {
  Line line;
  line.add("time", time_text(time_ms), kMaxAddress);
  line.add("status", status_text(event.status), kMaxOp);
  line.add("operation", event.op, kMaxOp);
  line.add("key", event.key.value_or(std::string_view()), kMaxKey);
  line.add("version", event.version, kMaxKey);
  line.add("user", event.user, kMaxUser);
  line.add("realUser", event.real_user, kMaxUser);
  line.add("remoteAddress", event.remote_address, kMaxAddress);
  line.add("requestId", event.request_id, kMaxRequestId);
  if (event.received_us != 0) {
    // A clock that was set back makes no negative duration.
    const std::int64_t us = std::max<std::int64_t>(0, now_us() - event.received_us);
    line.put("durationMs", json_real(static_cast<double>(us) / 1000));
  }
  if (event.status == AuditStatus::ok && is_aggregated(event)) {
    line.put("accessCount", json_integer(static_cast<json_int_t>(accesses.count)));
    line.put("intervalMs", json_integer(accesses.interval_ms));
  }
  line.add("detail", event.extra, kMaxUnmarkedLine - kFixedText - line.used());
  line.append_to(out);
}

}  // namespace kms
