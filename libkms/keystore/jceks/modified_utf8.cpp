// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/modified_utf8.h"

#include "core/utf8.h"

namespace kms::jceks {
namespace {

constexpr bool is_high(char32_t c) {
  return c >= 0xD800 && c <= 0xDBFF;
}
constexpr bool is_low(char32_t c) {
  return c >= 0xDC00 && c <= 0xDFFF;
}
constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kNone = 0xFFFFFFFF;

// The next UTF-16 unit of modified UTF-8, as DataInputStream.readUTF takes it; kNone when
// malformed.
char32_t next_unit(ByteView in, std::size_t& at) noexcept {
  const unsigned b = in[at++];
  if (b < 0x80) return b;
  auto more = [&]() -> unsigned {
    if (at == in.size() || (in[at] & 0xC0) != 0x80) return 0xFFFF;
    return in[at++] & 0x3Fu;
  };
  if ((b & 0xE0) == 0xC0) {
    const unsigned b2 = more();
    return b2 == 0xFFFF ? kNone : (b & 0x1F) << 6 | b2;
  }
  if ((b & 0xF0) == 0xE0) {
    const unsigned b2 = more();
    const unsigned b3 = b2 == 0xFFFF ? 0xFFFF : more();
    return b3 == 0xFFFF ? kNone : (b & 0x0F) << 12 | b2 << 6 | b3;
  }
  return kNone;
}

// The next code point of UTF-8; kNone stands for one U+FFFD. Surrogates pass when wtf8 says so.
char32_t next_point(ByteView in, std::size_t& at, bool wtf8) noexcept {
  const Utf8Step step = utf8_step(in.subspan(at));
  const ByteView sequence = in.subspan(at, step.length);
  at += step.length;
  const bool surrogate = !step.well_formed && sequence.size() == 3 && sequence[0] == 0xED;
  return step.well_formed || (wtf8 && surrogate) ? utf8_character(sequence) : kNone;
}

void put_unit(Bytes& out, char32_t c) {
  if (c >= 1 && c < 0x80) {
    out.push_back(static_cast<std::uint8_t>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<std::uint8_t>(0xC0 | c >> 6));
    out.push_back(static_cast<std::uint8_t>(0x80 | (c & 0x3F)));
  } else {
    out.push_back(static_cast<std::uint8_t>(0xE0 | c >> 12));
    out.push_back(static_cast<std::uint8_t>(0x80 | (c >> 6 & 0x3F)));
    out.push_back(static_cast<std::uint8_t>(0x80 | (c & 0x3F)));
  }
}

}  // namespace

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::optional<std::string> from_modified_utf8(ByteView bytes) {
  std::string out;
  out.reserve(bytes.size());
  char32_t pending = 0;  // a high surrogate that waits for its other half
  for (std::size_t at = 0; at < bytes.size();) {
    const char32_t c = next_unit(bytes, at);
    if (c == kNone) return std::nullopt;
    if (pending != 0 && is_low(c)) {
      append_utf8(out, 0x10000 + ((pending - 0xD800) << 10) + (c - 0xDC00));
      pending = 0;
      continue;
    }
    if (pending != 0) append_utf8(out, pending);
    pending = is_high(c) ? c : 0;
    if (pending == 0) append_utf8(out, c);
  }
  if (pending != 0) append_utf8(out, pending);
  return out;
}

bool is_modified_utf8(ByteView bytes) noexcept {
  for (std::size_t at = 0; at < bytes.size();)
    if (next_unit(bytes, at) == kNone) return false;
  return true;
}

std::size_t modified_utf8_size(std::string_view text) noexcept {
  std::size_t size = text.size();
  for (const char ch : text) {
    const auto b = static_cast<unsigned char>(ch);
    if (b == 0) size += 1;     // C0 80
    if (b >= 0xF0) size += 2;  // two surrogates of three bytes for four bytes
  }
  return size;
}

void append_modified_utf8(Bytes& out, std::string_view text) {
  const ByteView in = as_bytes(text);
  for (std::size_t at = 0; at < in.size();) {
    const char32_t c = next_point(in, at, true);
    if (c == kNone) {
      put_unit(out, kReplacement);
    } else if (c >= 0x10000) {
      put_unit(out, 0xD800 + ((c - 0x10000) >> 10));
      put_unit(out, 0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      put_unit(out, c);
    }
  }
}

bool is_utf8(std::string_view text) noexcept {
  const ByteView in = as_bytes(text);
  for (std::size_t at = 0; at < in.size();)
    if (next_point(in, at, false) == kNone) return false;
  return true;
}

std::string to_utf8(std::string_view wtf8) {
  if (is_utf8(wtf8)) return std::string(wtf8);
  std::string out;
  const ByteView in = as_bytes(wtf8);
  for (std::size_t at = 0; at < in.size();) {
    const char32_t c = next_point(in, at, true);
    append_utf8(out, c == kNone || is_high(c) || is_low(c) ? kReplacement : c);
  }
  return out;
}

std::string repair_utf8(ByteView bytes) {
  if (is_utf8(as_text(bytes))) return std::string(as_text(bytes));
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    const char32_t c = next_point(bytes, at, false);
    append_utf8(out, c == kNone ? kReplacement : c);
  }
  return out;
}

Secret utf16be(ByteView utf8) {
  std::size_t units = 0;
  for (std::size_t at = 0; at < utf8.size();) {
    const char32_t c = next_point(utf8, at, false);
    units += c != kNone && c >= 0x10000 ? 2 : 1;
  }
  Secret out(units * 2);
  std::uint8_t* p = out.data();
  auto put = [&p](char32_t unit) {
    *p++ = static_cast<std::uint8_t>(unit >> 8);
    *p++ = static_cast<std::uint8_t>(unit);
  };
  for (std::size_t at = 0; at < utf8.size();) {
    const char32_t c = next_point(utf8, at, false);
    if (c == kNone) {
      put(kReplacement);
    } else if (c >= 0x10000) {
      put(0xD800 + ((c - 0x10000) >> 10));
      put(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      put(c);
    }
  }
  return out;
}

}  // namespace kms::jceks
