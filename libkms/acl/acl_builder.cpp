// SPDX-License-Identifier: Apache-2.0
#include "acl/acl_builder.h"

#include "auth/text.h"

namespace kms {
namespace {

using enum AclFinding::Severity;

constexpr std::string_view kAllow = "hadoop.kms.acl.";
constexpr std::string_view kTrustee = "keytrustee.kms.acl.";
constexpr std::string_view kBlacklist = "hadoop.kms.blacklist.";
constexpr std::string_view kKey = "key.acl.";
constexpr std::string_view kDefault = "default.key.acl.";
constexpr std::string_view kWhitelist = "whitelist.key.acl.";

// The names of an enum as a list for messages.
template <class Enum, class Name>
std::string listed(std::size_t count, Name name, std::size_t first = 0) {
  std::string text;
  for (std::size_t i = first; i < count; ++i)
    text += (i == first ? "" : ", ") + std::string(name(static_cast<Enum>(i)));
  return text;
}

// The value of the enum that is called text, or count.
template <class Enum, class Name>
std::size_t number_of(std::string_view text, std::size_t count, Name name, std::size_t first = 0) {
  std::size_t i = first;
  while (i < count && name(static_cast<Enum>(i)) != text) ++i;
  return i;
}

std::string quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

// A text for one line of a log.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return quoted(out);
}

std::string joined(const std::set<std::string, std::less<>>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + shown(item);
  return text;
}

bool holds_blank(std::string_view text) {
  return text.find_first_of(" \t\r") != std::string_view::npos;
}

}  // namespace

Result<void> AclSet::Builder::run() {
  for (const auto& [name, rule] : rules_.all()) KMS_TRY(add(rule));
  for (const hadoop::Property& rule : rules_.without_value())
    if (!rules_.has(rule.name)) warn_about_empty(rule);
  return {};
}

Result<void> AclSet::Builder::add(const hadoop::Property& rule) {
  std::optional<AclRule>* place = slot(rule);
  if (place == nullptr) return {};
  // Verbatim: a blank before the users makes them groups.
  auto text = rules_.get_verbatim(rule.name, {});
  if (!text.ok()) return std::move(text).error();
  place->emplace(AclRule{AccessList(*text), rule.name, *text, rule.origin});
  warn_about_traps(rule, *text, (*place)->list);
  return {};
}

std::optional<AclRule>* AclSet::Builder::slot(const hadoop::Property& rule) {
  const std::string_view name = rule.name;
  if (name.starts_with(kAllow)) return op_slot(rule, name.substr(kAllow.size()), set_.allow_);
  if (name.starts_with(kBlacklist))
    return op_slot(rule, name.substr(kBlacklist.size()), set_.blacklist_);
  if (name.starts_with(kTrustee)) return trustee_slot(rule, name.substr(kTrustee.size()));
  if (name.starts_with(kKey)) return key_slot(rule, name.substr(kKey.size()));
  if (name.starts_with(kDefault))
    return shared_slot(rule, name.substr(kDefault.size()), set_.default_rules_);
  if (name.starts_with(kWhitelist))
    return shared_slot(rule, name.substr(kWhitelist.size()), set_.whitelist_rules_);
  // A name of another kind may be there for ${} to use.
  if (name.find("acl") != std::string_view::npos || name.starts_with("hadoop."))
    report(warning, "no-acl", rule, "is no ACL and has no effect here; names are case-sensitive");
  return nullptr;
}

std::optional<AclRule>* AclSet::Builder::op_slot(const hadoop::Property& rule, std::string_view op,
                                                 OpRules& lists) {
  const std::size_t type = number_of<OpAcl>(op, kHadoopOpAclCount, op_acl_name);
  if (type < kHadoopOpAclCount) return &lists[type];
  skipped(rule, op, listed<OpAcl>(kHadoopOpAclCount, op_acl_name));
  return nullptr;
}

std::optional<AclRule>* AclSet::Builder::trustee_slot(const hadoop::Property& rule,
                                                      std::string_view op) {
  const std::size_t type = number_of<OpAcl>(op, kOpAclCount, op_acl_name, kHadoopOpAclCount);
  if (type < kOpAclCount) return &set_.allow_[type];
  skipped(rule, op, listed<OpAcl>(kOpAclCount, op_acl_name, kHadoopOpAclCount));
  return nullptr;
}

std::optional<AclRule>* AclSet::Builder::key_slot(const hadoop::Property& rule,
                                                  std::string_view rest) {
  const std::size_t dot = rest.rfind('.');
  if (dot == std::string_view::npos || dot == 0) {
    report(error, "unknown-operation", rule, "skipped, the form is key.acl.KEY.OPERATION");
    return nullptr;
  }
  const std::string_view op = rest.substr(dot + 1);
  const std::size_t number = number_of<KeyOp>(op, kKeyOpCount, key_op_name);
  if (number == kKeyOpCount) {
    skipped(rule, op, listed<KeyOp>(kKeyOpCount, key_op_name));
    return nullptr;
  }
  return &set_.key_rules_[std::string(rest.substr(0, dot))][number];
}

std::optional<AclRule>* AclSet::Builder::shared_slot(const hadoop::Property& rule,
                                                     std::string_view op, KeyRules& rules) {
  constexpr std::size_t count = kKeyOpCount - 1;  // ALL works for key.acl only
  const std::size_t number = number_of<KeyOp>(op, count, key_op_name);
  if (number < count) return &rules[number];
  skipped(rule, op, listed<KeyOp>(count, key_op_name));
  return nullptr;
}

void AclSet::Builder::skipped(const hadoop::Property& rule, std::string_view op,
                              const std::string& known) {
  report(error, "unknown-operation", rule, "skipped, " + quoted(op) + " is none of: " + known);
}

// What operators of the Java KMS got wrong most: the list is right, but not the one they meant.
void AclSet::Builder::warn_about_traps(const hadoop::Property& rule, const std::string& text,
                                       const AccessList& list) {
  if (const std::string_view variable = hadoop::first_variable(text); !variable.empty())
    report(error, "undefined-variable", rule,
           "nothing defines ${" + std::string(variable) + "}, it stays as written");
  if (list.everyone()) {
    if (java_trim(text) != "*")
      report(warning, "star-admits-everyone", rule,
             "a lone '*' in " + shown(text) + " admits everyone");
    return;
  }
  warn_about_split(rule, text, list);
  for (const auto* items : {&list.users(), &list.groups()}) {
    for (const std::string& item : *items) {
      if (holds_blank(item))
        report(error, "blank-in-name", rule,
               shown(item) + " is taken as one name; items are separated by commas");
      else if (item.find('*') != std::string::npos)
        report(error, "no-wildcard", rule,
               "'*' is no wildcard in " + shown(item) + ", it works only alone");
    }
  }
}

void AclSet::Builder::warn_about_split(const hadoop::Property& rule, const std::string& text,
                                       const AccessList& list) {
  const std::size_t blank = text.find(' ');
  const std::string_view users_trimmed = java_trim(std::string_view(text).substr(0, blank));
  if (!list.groups().empty() &&
      ((users_trimmed.empty() && text.find('\n') != std::string::npos) ||
       users_trimmed.ends_with(',') || java_trim(text.substr(blank)).starts_with(',')))
    report(error, "users-as-groups", rule,
           "the first blank ends the users, so these are groups: " + joined(list.groups()));
}

void AclSet::Builder::warn_about_empty(const hadoop::Property& rule) {
  const std::string_view name = rule.name;
  if (name.starts_with(kAllow))
    report(error, "empty-value", rule,
           "has an empty value, which Hadoop takes as not set: EVERYONE is admitted. A value "
           "of one blank admits nobody");
  else if (name.starts_with(kBlacklist) || name.starts_with(kKey) || name.starts_with(kDefault) ||
           name.starts_with(kWhitelist))
    report(error, "empty-value", rule,
           "has an empty value, which Hadoop takes as not set. A value of one blank is a list "
           "of nobody");
}

}  // namespace kms
