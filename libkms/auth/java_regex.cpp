// SPDX-License-Identifier: Apache-2.0
#include "auth/java_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <new>
#include <utility>

#include "auth/java_pattern.h"
#include "core/utf8.h"

namespace kms {
namespace {

// A stranger chooses the name, and a pattern may backtrack. The worst that stays inside of these
// takes some tenths of a second; real rules need some hundred steps.
constexpr std::size_t kMaxSubject = 1024;
constexpr std::size_t kMaxResult = 4096;
constexpr std::uint32_t kMaxSteps = 20000;
constexpr std::uint32_t kMaxDepth = 5000;
constexpr std::uint32_t kMaxHeapKib = 4096;

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeData>;

Error refused(const std::string& why) {
  return Error(ErrorKind::authentication, why);
}

std::string pcre_text(int code) {
  PCRE2_UCHAR buffer[256];
  const int length = pcre2_get_error_message(code, buffer, sizeof buffer);
  return length >= 0 ? std::string(reinterpret_cast<const char*>(buffer)) : "error";
}

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Whether every character is one that no engine takes for an end of line; ascii: and is ASCII.
bool usable(std::string_view subject, bool ascii) {
  ByteView rest = as_bytes(subject);
  while (!rest.empty()) {
    const Utf8Step step = utf8_step(rest);
    if (!step.well_formed) return false;
    const char32_t c = utf8_character(rest.first(step.length));
    if (c < 0x20 || (c >= 0x7f && ascii) || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
      return false;
    rest = rest.subspan(step.length);
  }
  return true;
}

}  // namespace

struct JavaRegex::Code {
  std::unique_ptr<pcre2_code, FreeCode> code;
  std::unique_ptr<pcre2_match_context, FreeContext> limits;
  bool ascii_only = false;
  std::uint32_t groups = 0;

  Result<void> check(std::string_view subject) const {
    if (subject.size() > kMaxSubject) return refused("The name is too long for a rule's pattern");
    if (!usable(subject, ascii_only))
      return refused("The name has characters that a rule's pattern cannot be matched with");
    return {};
  }

  MatchData new_data() const {
    MatchData data(pcre2_match_data_create_from_pattern(code.get(), nullptr));
    if (!data) throw std::bad_alloc();
    return data;
  }

  // Whether something matches from start on.
  Result<bool> match(std::string_view subject, std::size_t start, std::uint32_t options,
                     pcre2_match_data* data) const {
    const int rc = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()),
                               subject.size(), start, options, data, limits.get());
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    if (rc < 0) return refused("A rule's pattern gives up on the name: " + pcre_text(rc));
    return true;
  }

  Result<std::size_t> group_of(std::string_view& reference) const;
  Result<void> append(std::string_view replacement, std::string_view subject,
                      const std::size_t* ends, std::string& out) const;
};

JavaRegex::JavaRegex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
JavaRegex::JavaRegex(JavaRegex&&) noexcept = default;
JavaRegex& JavaRegex::operator=(JavaRegex&&) noexcept = default;
JavaRegex::~JavaRegex() = default;

Result<JavaRegex> JavaRegex::compile(std::string_view pattern) {
  auto translated = translate_java_pattern(pattern);
  if (!translated.ok()) return std::move(translated).error();
  auto made = std::make_unique<Code>();
  made->ascii_only = translated->ascii_only;
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Its start optimizations miss (?=a).?a in "a" (10.42), and names are short.
  const std::uint32_t options = PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_START_OPTIMIZE |
                                (translated->ascii_only ? PCRE2_NEVER_UTF : PCRE2_UTF);
  made->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->text.data()),
                                 translated->text.size(), options, &error, &offset, nullptr));
  if (!made->code) return Error(ErrorKind::configuration, pcre_text(error));
  pcre2_pattern_info(made->code.get(), PCRE2_INFO_CAPTURECOUNT, &made->groups);
  made->limits.reset(pcre2_match_context_create(nullptr));
  if (!made->limits) throw std::bad_alloc();
  pcre2_set_match_limit(made->limits.get(), kMaxSteps);
  pcre2_set_depth_limit(made->limits.get(), kMaxDepth);
  pcre2_set_heap_limit(made->limits.get(), kMaxHeapKib);
  return JavaRegex(std::move(made));
}

Result<bool> JavaRegex::matches(std::string_view subject) const {
  KMS_TRY(code_->check(subject));
  const MatchData data = code_->new_data();
  return code_->match(subject, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, data.get());
}

// The group that a reference names, its $ taken off already; takes the rest of it off.
Result<std::size_t> JavaRegex::Code::group_of(std::string_view& reference) const {
  auto digit = [&] {
    return reference.empty() || reference.front() < '0' || reference.front() > '9'
               ? -1
               : reference.front() - '0';
  };
  if (!reference.empty() && reference.front() == '{') {
    const auto end = static_cast<std::size_t>(
        std::find_if_not(reference.begin() + 1, reference.end(), is_alnum) - reference.begin());
    if (end == reference.size() || reference[end] != '}')
      return refused("named capturing group is missing trailing '}'");
    const std::string name(reference.substr(1, end - 1));
    const int number =
        pcre2_substring_number_from_name(code.get(), reinterpret_cast<PCRE2_SPTR>(name.c_str()));
    if (number <= 0) return refused("No group with name {" + name.substr(0, 64) + "}");
    reference.remove_prefix(end + 1);
    return static_cast<std::size_t>(number);
  }
  if (digit() < 0) return refused("Illegal group reference");
  auto number = static_cast<std::size_t>(digit());
  reference.remove_prefix(1);
  // More digits as long as there are as many groups.
  while (digit() >= 0 && number * 10 + static_cast<std::size_t>(digit()) <= groups) {
    number = number * 10 + static_cast<std::size_t>(digit());
    reference.remove_prefix(1);
  }
  if (number > groups) return refused("No group " + std::to_string(number));
  return number;
}

// Matcher.appendReplacement.
Result<void> JavaRegex::Code::append(std::string_view replacement, std::string_view subject,
                                     const std::size_t* ends, std::string& out) const {
  while (!replacement.empty()) {
    const char c = replacement.front();
    replacement.remove_prefix(1);
    if (c == '$') {
      const auto group = group_of(replacement);
      if (!group.ok()) return group.error();
      const std::size_t from = ends[2 * *group], to = ends[2 * *group + 1];
      if (from != PCRE2_UNSET) out.append(subject.substr(from, to - from));
    } else if (c == '\\') {
      if (replacement.empty()) return refused("character to be escaped is missing");
      out += replacement.front();
      replacement.remove_prefix(1);
    } else {
      out += c;
    }
  }
  return {};
}

Result<std::string> JavaRegex::replace(std::string_view subject, std::string_view replacement,
                                       bool all) const {
  KMS_TRY(code_->check(subject));
  const MatchData data = code_->new_data();
  const std::size_t* ends = pcre2_get_ovector_pointer(data.get());
  std::string out;
  std::size_t copied = 0, start = 0;
  // Java goes on one character after an empty match, where Perl would look at the same place for
  // one that is not empty. Hence no pcre2_substitute.
  while (start <= subject.size()) {
    const auto found = code_->match(subject, start, 0, data.get());
    if (!found.ok()) return found.error();
    if (!*found) break;
    // A lookbehind cannot do so; \K could, and is not let through.
    if (ends[0] < copied || ends[1] < ends[0]) return refused("A match before its start");
    out.append(subject.substr(copied, ends[0] - copied));
    KMS_TRY(code_->append(replacement, subject, ends, out));
    if (out.size() > kMaxResult) return refused("A rule makes the name too long");
    copied = start = ends[1];
    if (!all) break;
    if (ends[0] == ends[1])
      start += start < subject.size() ? utf8_step(as_bytes(subject.substr(start))).length : 1;
  }
  out.append(subject.substr(copied));
  return out;
}

}  // namespace kms
