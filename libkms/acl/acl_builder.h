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
  Builder(AclSet& set, const hadoop::Configuration& rules, std::vector<AclFinding>& findings)
      : set_(set), rules_(rules), findings_(findings) {}
  Result<void> run();

 private:
  Result<void> add(const hadoop::Property& rule);
  // Where the list of a property belongs. Null: it is none of the file's names; a warning is made.
  std::optional<AclRule>* slot(const hadoop::Property& rule);
  std::optional<AclRule>* op_slot(const hadoop::Property& rule, std::string_view op,
                                  OpRules& lists);
  std::optional<AclRule>* trustee_slot(const hadoop::Property& rule, std::string_view op);
  std::optional<AclRule>* key_slot(const hadoop::Property& rule, std::string_view rest);
  std::optional<AclRule>* shared_slot(const hadoop::Property& rule, std::string_view op,
                                      KeyRules& rules);
  void warn_about_traps(const hadoop::Property& rule, const std::string& text,
                        const AccessList& list);
  void warn_about_split(const hadoop::Property& rule, const std::string& text,
                        const AccessList& list);
  void warn_about_empty(const hadoop::Property& rule);
  void skipped(const hadoop::Property& rule, std::string_view op, const std::string& known);
  void report(AclFinding::Severity severity, std::string_view code, const hadoop::Property& rule,
              std::string text) {
    findings_.push_back({severity, code, rule.origin, rule.name, std::move(text)});
  }

  AclSet& set_;
  const hadoop::Configuration& rules_;
  std::vector<AclFinding>& findings_;
};

}  // namespace kms
