// SPDX-License-Identifier: Apache-2.0
#include "metrics/object_name.h"

namespace kms {

// Goes back to the last '*' only: the time is at most the product of the lengths.
bool wildcard_match(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::optional<ObjectName> ObjectName::parse(std::string_view text) {
  ObjectName name;
  if (text.empty()) text = "*:*";
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  name.domain_ = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 1);
  if (rest.empty()) return std::nullopt;
  for (bool last = false; !last;) {
    const auto comma = rest.find(',');
    last = comma == std::string_view::npos;
    const std::string_view property = rest.substr(0, comma);
    if (!last) rest = rest.substr(comma + 1);
    if (property == "*") {
      if (name.more_) return std::nullopt;
      name.more_ = true;
      continue;
    }
    const auto equals = property.find('=');
    if (equals == std::string_view::npos || equals == 0) return std::nullopt;
    const bool fresh =
        name.properties_
            .emplace(std::string(property.substr(0, equals)), property.substr(equals + 1))
            .second;
    if (!fresh) return std::nullopt;
  }
  return name;
}

bool ObjectName::matches(const ObjectName& name) const {
  if (!wildcard_match(domain_, name.domain_)) return false;
  if (!more_ && properties_.size() != name.properties_.size()) return false;
  for (const auto& [key, pattern] : properties_) {
    const auto found = name.properties_.find(key);
    if (found == name.properties_.end() || !wildcard_match(pattern, found->second)) return false;
  }
  return true;
}

}  // namespace kms
