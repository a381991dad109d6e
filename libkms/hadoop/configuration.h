// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace kms::hadoop {

// Where a value was said, for messages: "/etc/kms/kms-site.xml:12" or
// "/etc/httpd/conf.d/kms.conf:30".
struct Origin {
  std::string file;
  int line = 0;
  std::string text() const { return line > 0 ? file + ":" + std::to_string(line) : file; }
  bool operator==(const Origin&) const = default;
};

struct Property {
  std::string name;
  std::string value;  // as written, before ${} expansion
  bool final = false;
  Origin origin;
  // False: <value> is missing or empty, which Hadoop takes as "says nothing" (its final counts all
  // the same). Only the short form <property name="…" value=""/> says an empty value.
  bool has_value = true;
  bool built_in = false;  // a default, nobody wrote it
};

// The properties of one *-site.xml in the order written, xi:include carried out as Hadoop does it.
// Errors (ErrorKind::configuration) name file and line. Refused: entity declarations, includes that
// are no local file, nesting deeper than 16 files, more than 256 files, files over 16 MiB. What
// Hadoop passes over in silence goes to warnings where they are wanted.
Result<std::vector<Property>> read_site_xml(const std::string& path,
                                            std::vector<std::string>* warnings = nullptr);
// The same over text; base_dir is where relative includes are looked for, name is for messages.
Result<std::vector<Property>> parse_site_xml(std::string_view xml, const std::string& name,
                                             const std::string& base_dir,
                                             std::vector<std::string>* warnings = nullptr);

// Properties merged as Hadoop's Configuration merges resources: a later resource wins unless an
// earlier one said final. Values are expanded on reading: ${property}, ${system.property},
// ${env.NAME},
// ${env.NAME:-default}, ${env.NAME-default}; what is not known stays as written. At most 20 rounds.
class Configuration {
 public:
  // System properties such as user.home, user.name; looked up before properties, as Java does.
  std::map<std::string, std::string> system_properties;
  // Environment look-up; getenv when empty.
  std::function<std::optional<std::string>(const std::string&)> environment;

  // A built-in default (kms-default.xml, core-default.xml); weaker than every file.
  void set_default(std::string name, std::string value);
  // Reads a file. Where a final property refuses a later value, a line goes to warnings.
  Result<void> add_file(const std::string& path);
  void add(std::vector<Property> properties);
  // A value that beats every file (an httpd directive of the same meaning), final or not.
  void set_override(std::string name, std::string value, Origin origin);

  std::vector<std::string> warnings;

  bool has(const std::string& name) const { return values_.count(name) != 0; }
  const Property* find(const std::string& name) const;
  // Expanded value, trimmed only where the typed getters below say so. nullopt when absent. A value
  // whose expansion does not end is given as written.
  std::optional<std::string> get(const std::string& name) const;
  // Typed: absent gives the fallback; text that does not parse is an error naming origin, property,
  // value. A value whose expansion does not end is an error in all of them.
  Result<std::string> get_verbatim(const std::string& name, std::string fallback) const;
  Result<std::string> get_string(const std::string& name, std::string fallback) const;  // trimmed
  Result<bool> get_bool(const std::string& name,
                        bool fallback) const;  // true/false, any case, else error
  Result<std::int64_t> get_int(const std::string& name, std::int64_t fallback, std::int64_t min,
                               std::int64_t max) const;  // decimal or 0x…
  const std::map<std::string, Property>& all() const { return values_; }
  // What was written without a value and so is not in all(), in the order read.
  const std::vector<Property>& without_value() const { return without_value_; }

 private:
  std::optional<std::string> lookup(const std::string& variable) const;
  std::optional<std::string> lookup_environment(std::string_view text) const;
  std::optional<std::string> expand(const std::string& text) const;
  void add_one(Property property);

  std::map<std::string, Property> values_;
  std::map<std::string, Origin> finals_;
  std::set<std::string> overridden_;
  std::vector<Property> without_value_;
};

// The first ${variable} in text, without the braces; empty when there is none. In an expanded value
// this is a variable that nothing defines.
std::string_view first_variable(std::string_view text);

// "ORIGIN: property NAME: TEXT", the form of every configuration error.
Error configuration_error(const Property& property, const std::string& text);

}  // namespace kms::hadoop
