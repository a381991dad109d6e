// SPDX-License-Identifier: Apache-2.0
#include "limits/rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace kms {
namespace {

struct ClassName {
  std::string_view name;
  std::uint8_t bits;
};
constexpr std::array<ClassName, 5> kClasses{
    {{"decrypt", 1}, {"generate", 2}, {"manage", 4}, {"read", 8}, {"all", 15}}};

Error mistake(std::string text) {
  return Error(ErrorKind::configuration, std::move(text));
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::vector<std::string> words_of(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  std::vector<std::string> words;
  while (true) {
    const auto begin = text.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const auto end = std::min(text.find_first_of(kBlank), text.size());
    words.push_back(lower(text.substr(0, end)));
    text.remove_prefix(end);
  }
}

std::optional<std::int64_t> number(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (problem != std::errc() || end != digits.data() + digits.size() || value < 1 ||
      value > kMostLimitCount)
    return std::nullopt;
  return value;
}

Result<LimitScope> parse_scope(const std::string& word) {
  if (word == "user") return LimitScope::user;
  if (word == "key") return LimitScope::key;
  return mistake("counts by user or key, not by '" + word + "'");
}

Result<std::uint8_t> parse_classes(std::string_view list) {
  std::uint8_t bits = 0;
  while (true) {
    const auto comma = std::min(list.find(','), list.size());
    const std::string_view name = list.substr(0, comma);
    const auto known = std::find_if(kClasses.begin(), kClasses.end(),
                                    [&](const ClassName& c) { return c.name == name; });
    if (known == kClasses.end())
      return mistake("knows the operations decrypt, generate, manage, read and all, not '" +
                     std::string(name) + "'");
    bits |= known->bits;
    if (comma == list.size()) return bits;
    list.remove_prefix(comma + 1);
  }
}

struct Rate {
  std::int64_t count, period_s;
};

Result<Rate> parse_rate(const std::string& word) {
  const auto slash = std::min(word.find('/'), word.size());
  const auto count = number(std::string_view(word).substr(0, slash));
  const std::string period = slash < word.size() ? word.substr(slash + 1) : "";
  const std::int64_t seconds = period == "second"   ? 1
                               : period == "minute" ? 60
                               : period == "hour"   ? 3600
                                                    : 0;
  if (!count.has_value() || seconds == 0)
    return mistake("takes a rate of N/second, N/minute or N/hour with N from 1 to " +
                   std::to_string(kMostLimitCount) + ", not '" + word + "'");
  return Rate{*count, seconds};
}

// Two rules that count the same would share their buckets.
template <class Rule>
Result<std::vector<Rule>> parse_list(std::string_view text,
                                     Result<Rule> (*parse)(std::string_view)) {
  std::vector<Rule> rules;
  if (const auto words = words_of(text); words.size() == 1 && words[0] == "none") return rules;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(';', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    begin = end + 1;
    if (words_of(part).empty()) continue;
    auto rule = parse(part);
    if (!rule.ok()) return std::move(rule).error();
    for (const Rule& other : rules)
      if (other.tag == rule->tag)
        return mistake("counts the same twice: '" + other.text + "' and '" + rule->text + "'");
    if (rules.size() == kMostLimitRules)
      return mistake("takes at most " + std::to_string(kMostLimitRules) + " rules");
    rules.push_back(std::move(*rule));
  }
  return rules;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

std::string_view limit_scope_name(LimitScope scope) {
  return scope == LimitScope::user ? "user" : "key";
}

Result<LimitRule> parse_limit_rule(std::string_view text) {
  const std::vector<std::string> words = words_of(text);
  if (words.size() < 3 || words.size() > 4)
    return mistake("is written user|key OPERATIONS N/second|minute|hour [burst=N]");
  LimitRule rule;
  auto scope = parse_scope(words[0]);
  if (!scope.ok()) return std::move(scope).error();
  auto classes = parse_classes(words[1]);
  if (!classes.ok()) return std::move(classes).error();
  auto rate = parse_rate(words[2]);
  if (!rate.ok()) return std::move(rate).error();
  rule.scope = *scope;
  rule.classes = *classes;
  rule.rate = rule.burst = rate->count;
  rule.period_s = rate->period_s;
  if (words.size() == 4) {
    constexpr std::string_view kBurst = "burst=";
    const auto burst = words[3].starts_with(kBurst) ? number(words[3].substr(kBurst.size()))
                                                    : std::optional<std::int64_t>();
    if (!burst.has_value())
      return mistake("takes burst=N with N from 1 to " + std::to_string(kMostLimitCount) +
                     ", not '" + words[3] + "'");
    rule.burst = *burst;
  }
  rule.text = joined(words);
  rule.tag = words[0] + "/" + std::to_string(rule.classes);
  return rule;
}

Result<AlarmRule> parse_alarm_rule(std::string_view text) {
  const std::vector<std::string> words = words_of(text);
  if (words.size() != 2) return mistake("is written user|key N/second|minute|hour");
  auto scope = parse_scope(words[0]);
  if (!scope.ok()) return std::move(scope).error();
  auto rate = parse_rate(words[1]);
  if (!rate.ok()) return std::move(rate).error();
  AlarmRule rule{*scope, rate->count, rate->period_s, joined(words), {}};
  rule.tag = "alarm/" + words[0] + "/" + std::to_string(rule.window_s);
  return rule;
}

Result<std::vector<LimitRule>> parse_limit_rules(std::string_view text) {
  return parse_list<LimitRule>(text, parse_limit_rule);
}

Result<std::vector<AlarmRule>> parse_alarm_rules(std::string_view text) {
  return parse_list<AlarmRule>(text, parse_alarm_rule);
}

}  // namespace kms
