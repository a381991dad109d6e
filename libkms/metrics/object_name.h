// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace kms {

// A JMX ObjectName, or a pattern of such: "java.lang:type=Memory", "*:name=Jvm*,*". Domain and
// values may have '*' and '?'; a property "*" stands for any more properties. The order of the
// properties says nothing.
class ObjectName {
 public:
  // nullopt: no such name. An empty text is "*:*", as javax.management has it.
  static std::optional<ObjectName> parse(std::string_view text);
  // name has no pattern in it.
  bool matches(const ObjectName& name) const;

 private:
  std::string domain_;
  std::map<std::string, std::string> properties_;
  bool more_ = false;
};

// Whether text fits a pattern with '*' and '?'.
bool wildcard_match(std::string_view pattern, std::string_view text);

}  // namespace kms
