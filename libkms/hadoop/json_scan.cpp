// SPDX-License-Identifier: Apache-2.0
#include "hadoop/json_scan.h"

#include <unistr.h>

#include <cstdlib>
#include <memory>
#include <vector>

namespace kms::hadoop {
namespace {

struct Free {
  void operator()(void* p) const { std::free(p); }
};

Result<std::string_view> from_utf16(std::string_view body, bool big_endian, std::string& room) {
  std::vector<std::uint16_t> units;
  units.reserve(body.size() / 2);
  for (std::size_t i = 0; i + 1 < body.size(); i += 2) {
    const auto first = static_cast<unsigned char>(body[i]);
    const auto second = static_cast<unsigned char>(body[i + 1]);
    units.push_back(
        static_cast<std::uint16_t>(big_endian ? first << 8 | second : second << 8 | first));
  }
  std::size_t length = 0;
  std::unique_ptr<std::uint8_t, Free> utf8(u16_to_u8(units.data(), units.size(), nullptr, &length));
  if (utf8 == nullptr && !units.empty())
    return Error(ErrorKind::malformed_json, "The body is not valid UTF-16");
  room.assign(reinterpret_cast<const char*>(utf8.get()), length);
  return std::string_view(room);
}

// Position behind the string that begins at the quote text[i].
std::size_t skip_string(std::string_view text, std::size_t i) {
  for (++i; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return text.size();
}

}  // namespace

Result<std::string_view> body_as_utf8(std::string_view body, std::string& room) {
  auto byte = [&body](std::size_t i) { return static_cast<unsigned char>(body[i]); };
  if (body.size() >= 3 && byte(0) == 0xEF && byte(1) == 0xBB && byte(2) == 0xBF)
    return body.substr(3);
  if (body.size() >= 2) {
    if (byte(0) == 0xFE && byte(1) == 0xFF) return from_utf16(body.substr(2), true, room);
    if (byte(0) == 0xFF && byte(1) == 0xFE) return from_utf16(body.substr(2), false, room);
    if (byte(0) == 0 && byte(1) != 0) return from_utf16(body, true, room);
    if (byte(0) != 0 && byte(1) == 0) return from_utf16(body, false, room);
  }
  return body;
}

Result<void> scan_json(std::string_view text, const JsonLimits& limits) {
  int depth = 0;
  std::size_t values = 0;
  bool any = false;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
      ++i;
      continue;
    }
    any = true;
    switch (c) {
      case '"':
        i = skip_string(text, i);
        break;
      case '[':
      case '{':
        if (++depth > limits.depth) {
          return Error(ErrorKind::too_large,
                       "The JSON body is nested deeper than " + std::to_string(limits.depth));
        }
        ++values;
        ++i;
        break;
      case ']':
      case '}':
        --depth;
        ++i;
        break;
      case ',':
        ++values;
        ++i;
        break;
      default:
        ++i;
    }
    if (values > limits.values) {
      return Error(
          ErrorKind::too_large,
          "The JSON body has more than " + std::to_string(limits.values) + " members and elements");
    }
    if (depth <= 0 && (c == ']' || c == '}')) break;
  }
  if (!any) return Error(ErrorKind::unexpected_json, "No content to map due to end-of-input");
  return {};
}

}  // namespace kms::hadoop
