// SPDX-License-Identifier: Apache-2.0
#include "acl/acl_set.h"

#include <sys/stat.h>

#include <cerrno>

#include "acl/acl_builder.h"
#include "acl/evaluation.h"

namespace kms {
namespace {

constexpr std::array<std::string_view, kOpAclCount> kOpAclNames = {
    "CREATE",           "DELETE",       "ROLLOVER",    "GET",      "GET_KEYS", "GET_METADATA",
    "SET_KEY_MATERIAL", "GENERATE_EEK", "DECRYPT_EEK", "UNDELETE", "PURGE",    "KEY_STATE"};
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

std::string op_acl_property(OpAcl type) {
  return std::string(is_hadoop_acl(type) ? "hadoop.kms.acl." : "keytrustee.kms.acl.") +
         std::string(op_acl_name(type));
}

std::string_view key_op_name(KeyOp op) {
  return kKeyOpNames[index(op)];
}

std::string_view severity_name(AclFinding::Severity severity) {
  constexpr std::string_view names[] = {"note", "warning", "error"};
  return names[index(severity)];
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
  std::vector<AclFinding> findings;
  auto made = build(rules, findings);
  for (const AclFinding& finding : findings) warnings.push_back(finding.line());
  return made;
}

Result<std::shared_ptr<const AclSet>> AclSet::build(const hadoop::Configuration& rules,
                                                    std::vector<AclFinding>& findings) {
  auto made = std::make_shared<AclSet>();
  Builder builder(*made, rules, findings);
  KMS_TRY(builder.run());
  return std::shared_ptr<const AclSet>(std::move(made));
}

bool AclSet::op_allowed(OpAcl type, const Caller& caller, Groups& groups) const {
  constexpr NoWitness nobody;
  return Evaluation(*this, caller, groups, nobody).op(type);
}

bool AclSet::key_acl_present(std::string_view acl_name, KeyOp op) const {
  const auto own = key_rules_.find(acl_name);
  return present(own != key_rules_.end() ? &own->second : nullptr, op);
}

KeyDecision AclSet::key_allowed(std::string_view acl_name, KeyOp op, const Caller& caller,
                                Groups& groups) const {
  constexpr NoWitness nobody;
  return Evaluation(*this, caller, groups, nobody).key(acl_name, op);
}

}  // namespace kms
