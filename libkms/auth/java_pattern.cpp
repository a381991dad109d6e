// SPDX-License-Identifier: Apache-2.0
#include "auth/java_pattern.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace kms {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

// Java's POSIX classes are ASCII. PCRE2 has them by these names, while its own \p{Lower} or
// \p{Alpha} would be properties of Unicode.
constexpr std::pair<std::string_view, std::string_view> kPosix[] = {
    {"Lower", "lower"}, {"Upper", "upper"}, {"ASCII", "ascii"}, {"Alpha", "alpha"},
    {"Digit", "digit"}, {"Alnum", "alnum"}, {"Punct", "punct"}, {"Graph", "graph"},
    {"Print", "print"}, {"Blank", "blank"}, {"Cntrl", "cntrl"}, {"XDigit", "xdigit"},
    {"Space", "space"},
};
// General categories, of the same name in both.
constexpr std::string_view kCategories[] = {
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
    "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
    "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<TranslatedPattern> run() {
    while (good() && !done()) item();
    if (good() && ascii_only_ && wide_)
      refuse("(?i) and \\b are supported with ASCII characters only");
    if (good() && caseless_ && property_) refuse("(?i) together with \\p is not supported");
    if (!good()) {
      return Error(ErrorKind::configuration,
                   *problem_ + " at byte " + std::to_string(pos_) + " of the pattern");
    }
    return TranslatedPattern{std::move(out_), ascii_only_};
  }

 private:
  bool good() const { return !problem_; }
  bool done() const { return pos_ >= in_.size(); }
  char peek(std::size_t ahead = 0) const {
    return pos_ + ahead < in_.size() ? in_[pos_ + ahead] : '\0';
  }
  void refuse(std::string why) {
    if (good()) problem_ = std::move(why);
  }
  void copy(std::size_t n = 1) {
    for (; n > 0 && !done(); --n, ++pos_) {
      wide_ |= !is_ascii(in_[pos_]);
      out_ += in_[pos_];
    }
  }

  // One token outside character classes.
  void item() {
    switch (peek()) {
      case '\\':
        return escape(false);
      case '[':
        return character_class();
      case '(':
        return group();
      case '*':
      case '+':
      case '?':
      case '{':
        return quantifier();
      default:
        return copy();
    }
  }

  void quantifier() {
    if (peek() == '{') {
      std::size_t n = 1;
      while (is_digit(peek(n))) ++n;
      bool right = n > 1;
      if (peek(n) == ',') ++n;
      while (is_digit(peek(n))) ++n;
      right = right && peek(n) == '}';
      // To PCRE2 anything else is plain text, to Java it is an error.
      if (!right) return refuse("a { that begins no repetition");
      copy(n);
    }
    copy();
    if (peek() == '?' || peek() == '+') copy();
    const char next = peek();
    if (next == '*' || next == '+' || next == '?' || next == '{')
      refuse("a repetition of a repetition");
  }

  // The head of a group; what is inside comes as further items.
  void group() {
    if (peek(1) == '*') return refuse("a * that repeats nothing");
    if (peek(1) != '?') return copy();
    const char kind = peek(2);
    if (kind == ':' || kind == '=' || kind == '!' || kind == '>') return copy(3);
    if (kind == '<') {
      if (peek(3) == '=' || peek(3) == '!') return copy(4);
      return named_group();
    }
    std::size_t n = 2;
    for (bool minus = false; std::string_view("ims-").find(peek(n)) != std::string_view::npos;
         ++n) {
      if (peek(n) == '-' && std::exchange(minus, true)) break;
      if (peek(n) == 'i') caseless_ = ascii_only_ = true;
    }
    if (n == 2 || (peek(n) != ')' && peek(n) != ':'))
      return refuse("a group or flag that is not supported");
    copy(n + 1);
  }

  void named_group() {
    std::size_t n = 3;
    while (is_letter(peek(n)) || (n > 3 && is_digit(peek(n)))) ++n;
    if (n == 3 || peek(n) != '>') return refuse("a group name that is none");
    names_.push_back(in_.substr(pos_ + 3, n - 3));
    copy(n + 1);
  }

  void character_class() {
    copy();
    if (peek() == '^') copy();
    // Plain as the first character, in both.
    if (peek() == ']') plain(peek()), ++pos_;
    while (good()) {
      if (done()) return refuse("a [ without its ]");
      const char c = peek();
      if (c == ']') return copy();
      if (c == '[' || (c == '&' && peek(1) == '&'))
        return refuse("unions and intersections of character classes are not supported");
      if (c == '\\') {
        escape(true);
      } else {
        copy();
      }
    }
  }

  void escape(bool in_class) {
    const char c = peek(1);
    if (pos_ + 1 >= in_.size()) return refuse("a \\ with nothing after it");
    if (!is_letter(c) && !is_digit(c)) return copy(2);
    if (std::string_view("tnrfae").find(c) != std::string_view::npos) return copy(2);
    if (std::string_view("dDhHsSvVwW").find(c) != std::string_view::npos) {
      copy(2);
      return hyphen_after_set(in_class);
    }
    if (c == 'x') return hex();
    if (c == 'u') return utf16();
    if (c == 'p' || c == 'P') return property(in_class);
    if (in_class) return refuse(std::string("\\") + c + " in a character class is not supported");
    if (std::string_view("AzZR").find(c) != std::string_view::npos) return copy(2);
    if (c == 'b' || c == 'B') {
      ascii_only_ = true;
      if (peek(2) == '{') return refuse("\\b{ is not supported");
      return copy(2);
    }
    if (c == 'Q') return quoted();
    if (c == 'k') return named_reference();
    // With more digits the engines go by the number of groups, each in its own way.
    if (c >= '1' && c <= '9' && !is_digit(peek(2))) return copy(2);
    refuse(std::string("\\") + c + " is not supported");
  }

  // Of a group that began before, to Java.
  void named_reference() {
    const std::size_t end = in_.find('>', pos_);
    const std::string_view name =
        peek(2) == '<' && end != std::string_view::npos ? in_.substr(pos_ + 3, end - pos_ - 3) : "";
    if (std::find(names_.begin(), names_.end(), name) == names_.end())
      return refuse("\\k without the name of a group before it");
    copy(end + 1 - pos_);
  }

  // [\w-.]: to Java the hyphen is itself, to PCRE2 it is a mistake.
  void hyphen_after_set(bool in_class) {
    if (!in_class || peek() != '-' || peek(1) == ']') return;
    plain('-');
    ++pos_;
  }

  void hex() {
    if (peek(2) != '{') {
      if (!is_hex(peek(2)) || !is_hex(peek(3))) return refuse("\\x without two hex digits");
      return character(in_.substr(pos_ + 2, 2), 4);
    }
    const std::size_t end = in_.find('}', pos_);
    if (end == std::string_view::npos) return refuse("\\x{ without its }");
    const std::string_view digits = in_.substr(pos_ + 3, end - pos_ - 3);
    character(digits, 4 + digits.size());
  }

  void utf16() {
    // Half a character each: Java joins two of them.
    if ((peek(2) | 0x20) == 'd' && peek(3) >= '8') return refuse("\\u of a surrogate");
    character(in_.substr(std::min(in_.size(), pos_ + 2), 4), 6);
  }

  void character(std::string_view digits, std::size_t length) {
    std::uint32_t value = 0;
    const bool hex = !digits.empty() && std::all_of(digits.begin(), digits.end(), is_hex);
    const auto end = digits.data() + digits.size();
    if (!hex || (length == 6 && peek(1) == 'u' && digits.size() != 4) ||
        std::from_chars(digits.data(), end, value, 16).ec != std::errc() || value > 0x10ffff)
      return refuse("a character number that is none");
    wide_ |= value >= 0x80;
    out_.append("\\x{").append(digits).append("}");
    pos_ += length;
  }

  void property(bool in_class) {
    property_ = true;
    const bool negative = peek(1) == 'P';
    std::string_view name = in_.substr(std::min(in_.size(), pos_ + 2), 1);
    std::size_t length = 3;
    if (name == "{") {
      const std::size_t end = in_.find('}', pos_);
      if (end == std::string_view::npos) return refuse("\\p{ without its }");
      name = in_.substr(pos_ + 3, end - pos_ - 3);
      length = end + 1 - pos_;
    }
    const auto* posix = std::find_if(std::begin(kPosix), std::end(kPosix),
                                     [&](const auto& pair) { return pair.first == name; });
    if (posix != std::end(kPosix)) {
      if (!in_class) out_ += '[';
      out_.append(negative ? "[:^" : "[:").append(posix->second).append(":]");
      if (!in_class) out_ += ']';
    } else if (std::find(std::begin(kCategories), std::end(kCategories), name) !=
               std::end(kCategories)) {
      out_.append(negative ? "\\P{" : "\\p{").append(name).append("}");
    } else {
      return refuse("a character property that is not supported");
    }
    pos_ += length;
    hyphen_after_set(in_class);
  }

  void quoted() {
    const std::size_t end = in_.find("\\E", pos_ + 2);
    const std::size_t stop = std::min(end, in_.size());
    // A repetition after it repeats its last character, in both.
    for (pos_ += 2; pos_ < stop; ++pos_) plain(in_[pos_]);
    if (end != std::string_view::npos) pos_ += 2;
  }

  void plain(char c) {
    wide_ |= !is_ascii(c);
    if (is_ascii(c) && !is_letter(c) && !is_digit(c)) out_ += '\\';
    out_ += c;
  }

  std::string_view in_;
  std::size_t pos_ = 0;
  std::string out_;
  std::vector<std::string_view> names_;
  bool ascii_only_ = false, caseless_ = false, property_ = false;
  bool wide_ = false;  // has a character past ASCII
  std::optional<std::string> problem_;
};

}  // namespace

Result<TranslatedPattern> translate_java_pattern(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace kms
