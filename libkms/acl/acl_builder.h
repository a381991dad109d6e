// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "acl/acl_set.h"

namespace kms {

// Fills an AclSet from the properties of kms-acls.xml and says which of them are skipped or read
// otherwise than they look.
class AclSet::Builder {
 public:
  Builder(AclSet& set, const hadoop::Configuration& rules, std::vector<std::string>& warnings)
      : set_(set), rules_(rules), warnings_(warnings) {}
  Result<void> run();

 private:
  Result<void> add(const hadoop::Property& rule);
  // Where the list of a property belongs. Null: it is none of the file's names; a warning is made.
  std::optional<AccessList>* slot(const hadoop::Property& rule);
  std::optional<AccessList>* op_slot(const hadoop::Property& rule, std::string_view op,
                                     std::array<std::optional<AccessList>, kOpAclCount>& lists);
  std::optional<AccessList>* key_slot(const hadoop::Property& rule, std::string_view rest);
  std::optional<AccessList>* shared_slot(const hadoop::Property& rule, std::string_view op,
                                         KeyRules& rules);
  void warn_about_traps(const hadoop::Property& rule, const std::string& text);
  void warn_about_empty(const hadoop::Property& rule);
  void warn(const hadoop::Property& rule, const std::string& text) {
    warnings_.push_back(hadoop::configuration_error(rule, text).message);
  }

  AclSet& set_;
  const hadoop::Configuration& rules_;
  std::vector<std::string>& warnings_;
};

}  // namespace kms
