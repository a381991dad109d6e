// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acl/access_list.h"
#include "acl/acl_finding.h"
#include "core/result.h"
#include "hadoop/configuration.h"

namespace kms {

// hadoop.kms.acl.TYPE and hadoop.kms.blacklist.TYPE; the last two are those of a Key Trustee KMS,
// keytrustee.kms.acl.TYPE, which admit nobody where they are not set and have no blacklist.
enum class OpAcl {
  create,
  delete_key,
  rollover,
  get,
  get_keys,
  get_metadata,
  set_key_material,
  generate_eek,
  decrypt_eek,
  undelete,
  purge,
  key_state,
};
inline constexpr std::size_t kOpAclCount = 12;
inline constexpr std::size_t kHadoopOpAclCount = 9;
std::string_view op_acl_name(OpAcl type);  // "CREATE" …
std::string op_acl_property(OpAcl type);   // "hadoop.kms.acl.CREATE" …
constexpr bool is_hadoop_acl(OpAcl type) {
  return static_cast<std::size_t>(type) < kHadoopOpAclCount;
}

// Operation in key.acl.NAME.OP, default.key.acl.OP, whitelist.key.acl.OP. all only with key.acl.
enum class KeyOp { read, management, generate_eek, decrypt_eek, all };
inline constexpr std::size_t kKeyOpCount = 5;
std::string_view key_op_name(KeyOp op);  // "READ" …

// What a key-level check found. The Java server writes an audit line for each check that failed:
// first the operation, then ALL, also where ALL then grants; denied_op says that the first one
// failed.
struct KeyDecision {
  bool allowed = false;
  bool denied_op = false;   // the check of the operation itself failed (audited)
  bool denied_all = false;  // the check of ALL failed too (audited)
};

// A rule and where it stands.
struct AclRule {
  AccessList list;
  std::string property;  // "key.acl.k.READ"
  std::string text;      // of the list: ${} expanded, blanks kept
  hadoop::Origin origin;
  bool operator==(const AclRule&) const = default;
};

// One kms-acls.xml, evaluated by kms-auth.md 6.3. Immutable, shared by all threads.
class AclSet {
 public:
  using Properties = std::map<std::string, std::string>;

  // A missing file is an error, as it stops the Java KMS; <configuration/> is the way to have no
  // rules (every op ACL admits all, every key ACL nobody). A file that does not parse is an error
  // with file and line. Skipped rules (unknown operation…) and rules that say other than they seem
  // to say go to warnings. ${} in values is expanded from system_properties, the environment and
  // the file itself.
  static Result<std::shared_ptr<const AclSet>> load(const std::string& path,
                                                    std::vector<std::string>& warnings,
                                                    const Properties& system_properties = {});
  static Result<std::shared_ptr<const AclSet>> build(const hadoop::Configuration& rules,
                                                     std::vector<std::string>& warnings);
  // The same, with what is wrong about single rules in parts. The configuration has warnings of its
  // own.
  static Result<std::shared_ptr<const AclSet>> build(const hadoop::Configuration& rules,
                                                     std::vector<AclFinding>& findings);

  bool operator==(const AclSet&) const = default;

  bool op_allowed(OpAcl type, const Caller& caller, Groups& groups) const;
  // key-level check for a key with ACL name acl_name. present() of 6.3 is part of it.
  KeyDecision key_allowed(std::string_view acl_name, KeyOp op, const Caller& caller,
                          Groups& groups) const;
  bool key_acl_present(std::string_view acl_name, KeyOp op) const;

 private:
  using OpRules = std::array<std::optional<AclRule>, kOpAclCount>;
  using KeyRules = std::array<std::optional<AclRule>, kKeyOpCount>;
  class Builder;
  template <class Witness>
  class Evaluation;  // evaluation.h
  friend class AclExplainer;
  friend class AclLint;

  // own: the rules of the key, null where it has none.
  bool present(const KeyRules* own, KeyOp op) const {
    const auto number = static_cast<std::size_t>(op);
    return own != nullptr || default_rules_[number] || whitelist_rules_[number];
  }
  OpRules allow_;
  OpRules blacklist_;
  std::map<std::string, KeyRules, std::less<>> key_rules_;
  KeyRules default_rules_;
  KeyRules whitelist_rules_;
};

}  // namespace kms
