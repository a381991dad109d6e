// SPDX-License-Identifier: Apache-2.0
// auth_to_local rules and names: the first line is a name, the rest are rules. A short name of a
// full one is simple, errors fit in a status line, and no pattern runs away (-timeout).
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "auth/java_regex.h"
#include "auth/name_rules.h"

namespace {

using namespace kms;

void require(bool condition) {
  if (!condition) std::abort();
}

void require_one_line(const std::string& message) {
  require(!message.empty() && message.size() < 1024 &&
          std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; }));
}

std::string mapped(const NameRules& rules, std::string_view name) {
  const auto result = rules.short_name(name);
  if (!result.ok()) {
    require(result.error().kind == ErrorKind::authentication);
    require_one_line(result.error().message);
    return {};
  }
  require(!result->empty());
  return *result;
}

void check(std::string_view text, NameMechanism mechanism, std::string_view name) {
  const auto rules = NameRules::parse(text, mechanism, "TEST.REALM");
  if (!rules.ok()) {
    require(rules.error().kind == ErrorKind::configuration);
    require(rules.error().message.starts_with("Invalid rule: "));
    require_one_line(rules.error().message);
    return;
  }
  const NameRules copy = *rules;
  const std::string result = mapped(*rules, name);
  require(mapped(copy, name) == result);
  // What is no principal at all stays as it is, with its slashes.
  if (mechanism == NameMechanism::hadoop && result != name)
    require(result.find_first_of("/@") == std::string::npos);
}

// A quoted text means itself, whatever is in it.
void check_quoting(std::string_view text) {
  if (text.find("\\E") != std::string_view::npos || text.ends_with('\\')) return;
  const auto regex = JavaRegex::compile("\\Q" + std::string(text) + "\\E");
  if (!regex.ok()) return;  // not UTF-8
  if (const auto matched = regex->matches(text); matched.ok()) require(*matched);
  if (const auto gone = regex->replace(text, "", false); gone.ok()) require(gone->empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view name = input.substr(0, input.find('\n'));
  const std::string_view rules = input.substr(std::min(size, name.size() + 1));
  check(rules, NameMechanism::hadoop, name);
  check(rules, NameMechanism::mit, name);

  static const auto written =
      NameRules::parse("RULE:[1:$1] RULE:[2:$1]", NameMechanism::hadoop, "");
  require(mapped(*written, name) == mapped(NameRules(), name));
  check_quoting(name);
  // As a pattern of its own, without the limits of a rule's syntax.
  if (const auto regex = JavaRegex::compile(rules); regex.ok()) {
    (void)regex->matches(name);
    (void)regex->replace(name, "[$0]", true);
  }
  return 0;
}
