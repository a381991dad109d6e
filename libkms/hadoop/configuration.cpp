// SPDX-License-Identifier: Apache-2.0
#include "hadoop/configuration.h"

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <utility>

#include "auth/text.h"

namespace kms::hadoop {
namespace {

constexpr int kMaxRounds = 20;

// Decimal or 0x…, with a sign, over the whole text, as Java's Configuration.getLong.
std::optional<std::int64_t> parse_int(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t magnitude = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  constexpr std::uint64_t top = std::numeric_limits<std::int64_t>::max();
  if (magnitude > top) return std::nullopt;
  const auto value = static_cast<std::int64_t>(magnitude);
  return negative ? -value : value;
}

bool same_word(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(text[i])) != lower[i]) return false;
  return true;
}

// "value 'V'", with what it expands to where that differs.
std::string said(const Property& property, std::string_view expanded) {
  std::string text = "value '" + property.value + "'";
  if (expanded != java_trim(property.value)) text += " (that is '" + std::string(expanded) + "')";
  return text;
}

}  // namespace

Error configuration_error(const Property& property, const std::string& text) {
  return Error(ErrorKind::configuration,
               property.origin.text() + ": property " + property.name + ": " + text);
}

// Hadoop's search: after "${" everything up to "}" but blanks and "$"; at least one character.
std::string_view first_variable(std::string_view text) {
  std::size_t start = 1;
  for (;;) {
    const std::size_t brace = text.find('{', start);
    if (brace == std::string_view::npos || brace + 2 >= text.size()) return {};
    if (text[brace - 1] != '$') {
      start = brace + 1;
      continue;
    }
    const std::size_t end = text.find_first_of("} $", brace + 1);
    if (end == std::string_view::npos) return {};
    if (text[end] == '}' && end > brace + 1) return text.substr(brace + 1, end - brace - 1);
    start = end + 1;
  }
}

void Configuration::set_default(std::string name, std::string value) {
  Property property{name, std::move(value), false, {"built-in default", 0}};
  property.built_in = true;
  values_.try_emplace(std::move(name), std::move(property));
}

Result<void> Configuration::add_file(const std::string& path) {
  auto properties = read_site_xml(path, &warnings);
  if (!properties.ok()) return std::move(properties).error();
  add(std::move(properties).value());
  return {};
}

void Configuration::add(std::vector<Property> properties) {
  for (Property& property : properties) add_one(std::move(property));
}

void Configuration::add_one(Property property) {
  const auto final_before = finals_.find(property.name);
  const bool refused = final_before != finals_.end();
  if (property.final) finals_.try_emplace(property.name, property.origin);
  if (!property.has_value) {
    without_value_.push_back(std::move(property));
    return;
  }
  if (overridden_.count(property.name) != 0) return;
  const auto old = values_.find(property.name);
  if (refused) {
    if (old == values_.end() || old->second.value != property.value)
      warnings.push_back(
          configuration_error(property,
                              "ignored, since " + final_before->second.text() + " says final")
              .message);
    return;
  }
  if (old == values_.end()) {
    std::string name = property.name;
    values_.emplace(std::move(name), std::move(property));
    return;
  }
  if (!old->second.built_in && old->second.origin.file == property.origin.file &&
      old->second.value != property.value)
    warnings.push_back(
        configuration_error(property, "wins over another value at " + old->second.origin.text())
            .message);
  old->second = std::move(property);
}

void Configuration::set_override(std::string name, std::string value, Origin origin) {
  overridden_.insert(name);
  values_.insert_or_assign(name, Property{name, std::move(value), true, std::move(origin)});
}

const Property* Configuration::find(const std::string& name) const {
  const auto it = values_.find(name);
  return it == values_.end() ? nullptr : &it->second;
}

// NAME, NAME:-DEFAULT (also when empty) or NAME-DEFAULT; the first "-" or ":-" counts.
std::optional<std::string> Configuration::lookup_environment(std::string_view text) const {
  const auto value_of = [this](std::string_view name) -> std::optional<std::string> {
    const std::string key(name);
    if (environment) return environment(key);
    const char* value = std::getenv(key.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return value_of(text);
  const bool colon = dash > 0 && text[dash - 1] == ':';
  auto value = value_of(text.substr(0, colon ? dash - 1 : dash));
  if (!value || (colon && value->empty())) return std::string(text.substr(dash + 1));
  return value;
}

std::optional<std::string> Configuration::lookup(const std::string& variable) const {
  std::optional<std::string> value;
  if (variable.starts_with("env.") && variable.size() > 4) {
    value = lookup_environment(std::string_view(variable).substr(4));
  } else if (const auto it = system_properties.find(variable); it != system_properties.end()) {
    value = it->second;
  }
  if (value) return value;
  const Property* property = find(variable);
  return property == nullptr ? std::nullopt : std::optional(property->value);
}

// nullopt: the expansion did not end, where Java throws.
std::optional<std::string> Configuration::expand(const std::string& text) const {
  std::string now = text;
  for (int round = 0; round < kMaxRounds; ++round) {
    const std::string_view variable = first_variable(now);
    if (variable.empty()) return now;
    const auto value = lookup(std::string(variable));
    if (!value) return now;
    const auto start = static_cast<std::size_t>(variable.data() - now.data()) - 2;
    const std::size_t length = variable.size() + 3;
    if (value->find(std::string_view(now).substr(start, length)) != std::string::npos) return text;
    now.replace(start, length, *value);
  }
  return std::nullopt;
}

std::optional<std::string> Configuration::get(const std::string& name) const {
  const Property* property = find(name);
  if (property == nullptr) return std::nullopt;
  auto expanded = expand(property->value);
  return expanded ? expanded : property->value;
}

Result<std::string> Configuration::get_verbatim(const std::string& name,
                                                std::string fallback) const {
  const Property* property = find(name);
  if (property == nullptr) return fallback;
  auto expanded = expand(property->value);
  if (!expanded)
    return configuration_error(
        *property, "value '" + property->value + "' has a ${…} that does not end after 20 rounds");
  return std::move(*expanded);
}

Result<std::string> Configuration::get_string(const std::string& name, std::string fallback) const {
  auto value = get_verbatim(name, std::move(fallback));
  if (!value.ok()) return value;
  return std::string(java_trim(*value));
}

Result<bool> Configuration::get_bool(const std::string& name, bool fallback) const {
  const Property* property = find(name);
  if (property == nullptr) return fallback;
  auto text = get_string(name, {});
  if (!text.ok()) return std::move(text).error();
  if (same_word(*text, "true")) return true;
  if (same_word(*text, "false")) return false;
  return configuration_error(*property, said(*property, *text) + " is not one of: true, false");
}

Result<std::int64_t> Configuration::get_int(const std::string& name, std::int64_t fallback,
                                            std::int64_t min, std::int64_t max) const {
  const Property* property = find(name);
  if (property == nullptr) return fallback;
  auto text = get_string(name, {});
  if (!text.ok()) return std::move(text).error();
  const auto number = parse_int(*text);
  if (number && *number >= min && *number <= max) return *number;
  return configuration_error(*property, said(*property, *text) + " is not a whole number from " +
                                            std::to_string(min) + " to " + std::to_string(max));
}

}  // namespace kms::hadoop
