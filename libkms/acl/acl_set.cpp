// SPDX-License-Identifier: Apache-2.0
#include "acl/acl_set.h"

#include <sys/stat.h>

#include <cerrno>

#include "acl/acl_builder.h"

namespace kms {
namespace {

constexpr std::array<std::string_view, kOpAclCount> kOpAclNames = {
    "CREATE",       "DELETE",           "ROLLOVER",     "GET",        "GET_KEYS",
    "GET_METADATA", "SET_KEY_MATERIAL", "GENERATE_EEK", "DECRYPT_EEK"};
constexpr std::array<std::string_view, kKeyOpCount> kKeyOpNames = {
    "READ", "MANAGEMENT", "GENERATE_EEK", "DECRYPT_EEK", "ALL"};

template <class Enum>
constexpr std::size_t index(Enum value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

std::string_view op_acl_name(OpAcl type) {
  return kOpAclNames[index(type)];
}

std::string_view key_op_name(KeyOp op) {
  return kKeyOpNames[index(op)];
}

Result<std::shared_ptr<const AclSet>> AclSet::load(const std::string& path,
                                                   std::vector<std::string>& warnings,
                                                   const Properties& system_properties) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 && errno == ENOENT)
    return Error(ErrorKind::configuration,
                 path +
                     ": no such file; the Java KMS does not start without it either. A file "
                     "with <configuration/> has no rules");
  hadoop::Configuration rules;
  rules.system_properties = system_properties;
  const auto read = rules.add_file(path);
  warnings.insert(warnings.end(), rules.warnings.begin(), rules.warnings.end());
  if (!read.ok()) return read.error();
  return build(rules, warnings);
}

Result<std::shared_ptr<const AclSet>> AclSet::build(const hadoop::Configuration& rules,
                                                    std::vector<std::string>& warnings) {
  auto made = std::make_shared<AclSet>();
  Builder builder(*made, rules, warnings);
  KMS_TRY(builder.run());
  return std::shared_ptr<const AclSet>(std::move(made));
}

bool AclSet::op_allowed(OpAcl type, const Caller& caller, Groups& groups) const {
  const auto& allow = allow_[index(type)];
  if (allow && !allow->admits(caller, groups)) return false;
  const auto& blacklist = blacklist_[index(type)];
  return !blacklist || !blacklist->shuts_out(caller, groups);
}

bool AclSet::key_acl_present(std::string_view acl_name, KeyOp op) const {
  return key_rules_.find(acl_name) != key_rules_.end() || default_rules_[index(op)] ||
         whitelist_rules_[index(op)];
}

bool AclSet::key_access(std::string_view acl_name, KeyOp op, const Caller& caller,
                        Groups& groups) const {
  const auto own = key_rules_.find(acl_name);
  // One rule for the key puts all defaults out of force for it.
  const auto& rule = own != key_rules_.end() ? own->second[index(op)] : default_rules_[index(op)];
  if (rule && rule->admits(caller, groups)) return true;
  const auto& whitelist = whitelist_rules_[index(op)];
  return whitelist && whitelist->admits(caller, groups);
}

KeyDecision AclSet::key_allowed(std::string_view acl_name, KeyOp op, const Caller& caller,
                                Groups& groups) const {
  KeyDecision decision;
  if (!key_acl_present(acl_name, op)) return decision;
  if (key_access(acl_name, op, caller, groups)) {
    decision.allowed = true;
    return decision;
  }
  decision.denied_op = true;
  decision.allowed = key_access(acl_name, KeyOp::all, caller, groups);
  decision.denied_all = !decision.allowed;
  return decision;
}

}  // namespace kms
