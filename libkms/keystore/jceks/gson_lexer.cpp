// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/gson_lexer.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "keystore/jceks/modified_utf8.h"

namespace kms::jceks {
namespace {

constexpr std::size_t kGsonBuffer = 1024;  // a number that fills it is no number to Gson
constexpr std::string_view kBom = "\xEF\xBB\xBF";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Double.parseDouble, without the infinities and NaN, which no caller could use.
std::optional<double> java_double(std::string_view s) {
  auto blank = [](char c) { return static_cast<unsigned char>(c) <= 0x20; };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  const bool negative = !s.empty() && s.front() == '-';
  if (!s.empty() && (s.front() == '-' || s.front() == '+')) s.remove_prefix(1);
  const bool hex = s.size() > 2 && s[0] == '0' && (s[1] | 0x20) == 'x';
  if (hex) s.remove_prefix(2);
  if (hex && s.find_first_of("pP") == std::string_view::npos) return std::nullopt;
  if (s.size() > 1 && std::string_view("fFdD").find(s.back()) != std::string_view::npos)
    s.remove_suffix(1);
  const bool digits = !s.empty() && (is_digit(s[0]) || s[0] == '.' || hex);
  if (!digits || s[0] == '-') return std::nullopt;
  double value = 0;
  const auto [end, error] =
      std::from_chars(s.data(), s.data() + s.size(), value,
                      hex ? std::chars_format::hex : std::chars_format::general);
  if (error != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return negative ? -value : value;
}

std::optional<std::int64_t> java_long(std::string_view s) {
  if (s.size() > 1 && s[0] == '+' && is_digit(s[1])) s.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (error != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return value;
}

// Gson falls back from an integer to a double that happens to be whole. Java's cast saturates, and
// the comparison that follows is one of doubles.
template <class T>
std::optional<T> whole(std::string_view text) {
  const auto value = java_double(text);
  if (!value.has_value()) return std::nullopt;
  constexpr T kMost = std::numeric_limits<T>::max(), kLeast = std::numeric_limits<T>::min();
  T cast = kMost;
  if (*value < static_cast<double>(kLeast)) {
    cast = kLeast;
  } else if (*value < static_cast<double>(kMost)) {
    cast = static_cast<T>(*value);
  }
  return static_cast<double>(cast) == *value ? std::optional(cast) : std::nullopt;
}

// Lone surrogates cannot leave Java as UTF-8; they become question marks.
std::string without_surrogates(const std::string& wtf8) {
  if (is_utf8(wtf8)) return wtf8;
  std::string out;
  for (std::size_t i = 0; i < wtf8.size(); ++i) {
    const bool surrogate = static_cast<unsigned char>(wtf8[i]) == 0xED && i + 2 < wtf8.size() &&
                           static_cast<unsigned char>(wtf8[i + 1]) >= 0xA0;
    out += surrogate ? '?' : wtf8[i];
    if (surrogate) i += 2;
  }
  return out;
}

}  // namespace

GsonLexer::GsonLexer(ByteView json) : text_(repair_utf8(json)) {
  if (text_.starts_with(kBom)) at_ = kBom.size();
}

char GsonLexer::peek() {
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos)
    ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool GsonLexer::accept(char c) {
  if (peek() != c || at_ == text_.size()) return false;
  ++at_;
  return true;
}

std::optional<std::string> GsonLexer::quoted() {
  if (!accept('"')) return std::nullopt;
  std::string out;
  pending_ = 0;
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (c == '\\') {
      if (!escape(out)) return std::nullopt;
      continue;
    }
    if (pending_ != 0) append_utf8(out, pending_);
    pending_ = 0;
    if (c == '"') return without_surrogates(out);
    out += c;  // control characters too: Gson 2.9 does not mind them
  }
  return std::nullopt;
}

// What follows a backslash.
bool GsonLexer::escape(std::string& out) {
  if (at_ == text_.size()) return false;
  const char c = text_[at_++];
  char32_t unit = 0;
  if (c == 'u') {
    if (text_.size() - at_ < 4) return false;
    unsigned value = 0;
    const char* const end = text_.data() + at_ + 4;
    if (std::from_chars(text_.data() + at_, end, value, 16).ptr != end) return false;
    unit = value;
    at_ += 4;
  } else {
    static constexpr std::string_view kFrom = "tbnrf\n'\"\\/", kTo = "\t\b\n\r\f\n'\"\\/";
    const std::size_t i = kFrom.find(c);
    if (i == std::string_view::npos) return false;
    unit = static_cast<unsigned char>(kTo[i]);
  }
  if (pending_ != 0 && unit >= 0xDC00 && unit <= 0xDFFF) {
    append_utf8(out, 0x10000 + ((pending_ - 0xD800) << 10) + (unit - 0xDC00));
    pending_ = 0;
    return true;
  }
  if (pending_ != 0) append_utf8(out, pending_);
  pending_ = unit >= 0xD800 && unit <= 0xDBFF ? unit : 0;
  if (pending_ == 0) append_utf8(out, unit);
  return true;
}

std::optional<std::string> GsonLexer::number() {
  const std::size_t begin = (peek(), at_);
  auto here = [this] { return at_ < text_.size() ? text_[at_] : '\0'; };
  auto digits = [&] {
    const std::size_t first = at_;
    while (is_digit(here())) ++at_;
    return at_ - first;
  };
  if (here() == '-') ++at_;
  const bool zero = here() == '0';
  const std::size_t whole_digits = digits();
  if (whole_digits == 0 || (zero && whole_digits > 1)) return std::nullopt;
  if (here() == '.' && (++at_, digits() == 0)) return std::nullopt;
  if ((here() | 0x20) == 'e') {
    ++at_;
    if (here() == '+' || here() == '-') ++at_;
    if (digits() == 0) return std::nullopt;
  }
  const bool ends = at_ == text_.size() ||
                    std::string_view("{}[]:, \t\f\r\n").find(here()) != std::string_view::npos;
  if (!ends || at_ - begin >= kGsonBuffer) return std::nullopt;
  return text_.substr(begin, at_ - begin);
}

std::optional<std::string> GsonLexer::string_value() {
  return peek() == '"' ? quoted() : number();
}

std::optional<std::int32_t> GsonLexer::int_value() {
  const auto text = string_value();
  return text.has_value() ? whole<std::int32_t>(*text) : std::nullopt;
}

std::optional<std::int64_t> GsonLexer::long_value() {
  const auto text = string_value();
  if (!text.has_value()) return std::nullopt;
  const auto exact = java_long(*text);
  return exact.has_value() ? exact : whole<std::int64_t>(*text);
}

}  // namespace kms::jceks
