// SPDX-License-Identifier: Apache-2.0
#include "auth/name_rules.h"

#include <krb5.h>
#include <unicase.h>
#include <unistr.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "auth/java_regex.h"
#include "auth/text.h"

namespace kms {
namespace {

// Longer than any name that a KDC gives out; bounds what a message repeats.
constexpr std::size_t kEchoedBytes = 256;

Error refused(std::string_view what, std::string_view name) {
  return Error(ErrorKind::authentication, std::string(what) + printable(name, kEchoedBytes));
}

// [^stop]* off the front of rest.
std::string_view take_until(std::string_view& rest, std::string_view stop) {
  const std::string_view taken = rest.substr(0, rest.find_first_of(stop));
  rest.remove_prefix(taken.size());
  return taken;
}

bool take(std::string_view& rest, std::string_view text) {
  if (!rest.starts_with(text)) return false;
  rest.remove_prefix(text.size());
  return true;
}

struct Principal {
  std::string_view service, host, realm;  // host and realm: empty when absent
};

// ([^/@]+)(/([^/@]+))?(@([^/@]+))?; none when text is otherwise.
std::optional<Principal> parse_principal(std::string_view text) {
  Principal p;
  p.service = take_until(text, "/@");
  bool good = !p.service.empty();
  if (take(text, "/")) good = good && !(p.host = take_until(text, "/@")).empty();
  if (take(text, "@")) good = good && !(p.realm = take_until(text, "/@")).empty();
  if (!good || !text.empty()) return std::nullopt;
  return p;
}

// $0 is the realm, "null" where there is none: so Java's StringBuilder writes it.
std::string_view parameter(const Principal& p, unsigned number) {
  if (number == 0) return p.realm.empty() ? "null" : p.realm;
  return number == 1 ? p.service : p.host;
}

// Fills in the $N of a rule's format.
Result<std::string> format_name(std::string_view format, const Principal& p) {
  const unsigned last = p.host.empty() ? 1 : 2;
  std::string out;
  std::string_view rest = format;
  while (!rest.empty()) {
    out += take_until(rest, "$");
    if (!take(rest, "$")) break;
    const std::size_t n = std::min(rest.size(), rest.find_first_not_of("0123456789"));
    const std::string_view digits = rest.substr(0, n);
    int number = -1;
    if (std::from_chars(digits.data(), digits.data() + n, number).ec != std::errc())
      return refused("bad format in username mapping in ", digits);
    rest.remove_prefix(n);
    if (static_cast<unsigned>(number) > last) {
      return Error(ErrorKind::authentication,
                   "index " + std::to_string(number) + " from " + printable(format, kEchoedBytes) +
                       " is outside of the valid range 0 to " + std::to_string(last));
    }
    out += parameter(p, static_cast<unsigned>(number));
  }
  return out;
}

struct FreeDeleter {
  void operator()(std::uint8_t* p) const { std::free(p); }
};

// String.toLowerCase(Locale.ENGLISH).
Result<std::string> lower_case(std::string_view text) {
  if (u8_check(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()) != nullptr)
    return refused("Not UTF-8: ", text);
  std::size_t length = 0;
  const std::unique_ptr<std::uint8_t, FreeDeleter> lower(
      u8_tolower(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), "en", nullptr,
                 nullptr, &length));
  if (!lower) return refused("No lower case of ", text);
  return std::string(reinterpret_cast<const char*>(lower.get()), length);
}

struct Substitution {
  JavaRegex from;
  std::string from_text, to;
  bool all;
};

struct Rule {
  bool is_default = false;
  int components = 0;
  std::string format, match_text;
  std::optional<JavaRegex> match;
  std::optional<Substitution> substitution;
  bool lower = false;

  // As Java prints it.
  std::string text() const {
    if (is_default) return "DEFAULT";
    std::string out = "RULE:[" + std::to_string(components) + ":" + format + "]";
    if (match) out += "(" + match_text + ")";
    if (substitution) {
      out += "s/" + substitution->from_text + "/" + substitution->to + "/";
      if (substitution->all) out += "g";
    }
    if (lower) out += "/L";
    return out;
  }

  // Whether the rule is for p; name is then what it makes of it, before it is looked at and
  // lowered.
  Result<bool> apply(const Principal& p, std::string_view realm, std::string& name) const {
    if (is_default) {
      name = p.service;
      return !p.realm.empty() && p.realm == realm;
    }
    if (components != (p.host.empty() ? 1 : 2)) return false;
    auto made = format_name(format, p);
    if (!made.ok()) return std::move(made).error();
    if (match) {
      auto matched = match->matches(*made);
      if (!matched.ok() || !*matched) return matched;
    }
    if (substitution) made = substitution->from.replace(*made, substitution->to, substitution->all);
    if (!made.ok()) return std::move(made).error();
    name = std::move(*made);
    return true;
  }
};

Error invalid_rule(std::string_view rest) {
  return Error(ErrorKind::configuration, "Invalid rule: " + printable(rest, kEchoedBytes));
}

Result<JavaRegex> compile(std::string_view rule, std::string_view pattern) {
  auto compiled = JavaRegex::compile(pattern);
  if (compiled.ok()) return compiled;
  return Error(ErrorKind::configuration, invalid_rule(rule).message + ": pattern '" +
                                             printable(pattern, kEchoedBytes) +
                                             "': " + compiled.error().message);
}

// s/from/to/g, where rest begins with a whole one.
Result<void> parse_substitution(std::string_view whole, std::string_view& rest, Rule& rule) {
  std::string_view ahead = rest;
  if (!take(ahead, "s/")) return {};
  const std::string_view from = take_until(ahead, "/");
  if (!take(ahead, "/")) return {};
  const std::string_view to = take_until(ahead, "/");
  if (!take(ahead, "/")) return {};
  const bool all = take(ahead, "g");
  auto compiled = compile(whole, from);
  if (!compiled.ok()) return std::move(compiled).error();
  rule.substitution.emplace(
      Substitution{std::move(*compiled), std::string(from), std::string(to), all});
  rest = ahead;
  return {};
}

// n:format](match)s/from/to/g. What only begins like a part is left for the next rule, which it is
// not: so Hadoop's pattern has it.
Result<void> parse_body(std::string_view whole, std::string_view& rest, Rule& rule) {
  const std::string_view count = take_until(rest, ":");
  const auto [end, error] =
      std::from_chars(count.data(), count.data() + count.size(), rule.components);
  const bool number = error == std::errc() && end == count.data() + count.size() &&
                      count.front() != '-' && take(rest, ":");
  rule.format = take_until(rest, "]");
  if (!number || !take(rest, "]")) return invalid_rule(whole);
  if (const std::size_t close = rest.find(')');
      rest.starts_with('(') && close != std::string_view::npos) {
    rule.match_text = rest.substr(1, close - 1);
    auto compiled = compile(whole, rule.match_text);
    if (!compiled.ok()) return std::move(compiled).error();
    rule.match.emplace(std::move(*compiled));
    rest.remove_prefix(close + 1);
  }
  return parse_substitution(whole, rest, rule);
}

// One rule off the front of rest.
Result<Rule> parse_rule(std::string_view& rest) {
  const std::string_view whole = rest;
  rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(" \t\n\v\f\r")));
  Rule rule;
  if (take(rest, "DEFAULT")) {
    rule.is_default = true;
  } else if (take(rest, "RULE:[")) {
    KMS_TRY(parse_body(whole, rest, rule));
  } else {
    return invalid_rule(whole);
  }
  take(rest, "/");
  const bool lower = take(rest, "L");
  rule.lower = lower && !rule.is_default;
  return rule;
}

}  // namespace

// Null stands for RULE:[1:$1] RULE:[2:$1] by mechanism hadoop.
struct NameRules::Rules {
  NameMechanism mechanism;
  std::string default_realm;
  std::vector<Rule> list;
};

NameRules::NameRules() = default;

Result<NameRules> NameRules::parse(std::string_view rules, NameMechanism mechanism,
                                   std::string_view default_realm) {
  if (u8_check(reinterpret_cast<const std::uint8_t*>(rules.data()), rules.size()) != nullptr)
    return invalid_rule(rules);
  auto parsed = std::make_shared<Rules>();
  parsed->mechanism = mechanism;
  parsed->default_realm = default_realm;
  std::string_view rest = java_trim(rules);
  while (!rest.empty()) {
    auto rule = parse_rule(rest);
    if (!rule.ok()) return std::move(rule).error();
    parsed->list.push_back(std::move(*rule));
  }
  return NameRules(std::move(parsed));
}

Result<std::string> NameRules::short_name(std::string_view principal) const {
  const auto parts = parse_principal(principal);
  if (!parts) {
    // Hadoop takes any other text without a realm as a plain name; an empty one it refuses later.
    if (principal.empty() || principal.find('@') != std::string_view::npos)
      return refused("Malformed Kerberos name: ", principal);
    return std::string(principal);
  }
  if (!rules_ || (parts->host.empty() && parts->realm.empty())) return std::string(parts->service);

  const bool simple_only = rules_->mechanism == NameMechanism::hadoop;
  std::string name;
  for (const Rule& rule : rules_->list) {
    auto applied = rule.apply(*parts, rules_->default_realm, name);
    if (!applied.ok()) return std::move(applied).error();
    if (!*applied) continue;
    if (simple_only && name.find_first_of("/@") != std::string::npos) {
      return refused("Non-simple name ",
                     printable(name, kEchoedBytes) + " after auth_to_local rule " + rule.text());
    }
    // Nobody: Java lets it pass, and an ACL of * would let it in.
    if (name.empty()) return refused("Empty name after auth_to_local rule ", rule.text());
    if (rule.lower) return lower_case(name);
    return name;
  }
  if (simple_only) return refused("No rules applied to ", principal);
  return std::string(principal);
}

std::string default_kerberos_realm() {
  krb5_context context = nullptr;
  if (krb5_init_context(&context) != 0) return {};
  std::string realm;
  char* found = nullptr;
  if (krb5_get_default_realm(context, &found) == 0) {
    realm = found;
    krb5_free_default_realm(context, found);
  }
  krb5_free_context(context);
  return realm;
}

}  // namespace kms
