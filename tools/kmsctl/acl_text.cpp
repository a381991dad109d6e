// SPDX-License-Identifier: Apache-2.0
#include "acl_text.h"

namespace kmsctl {
namespace {

using kms::AclCheck;
using kms::Match;
using kms::RuleKind;
using kms::RuleLook;

std::string quoted(std::string_view text) {
  return "'" + shown(text) + "'";
}

// Why a rule holds the caller.
std::string reason(const RuleLook& look) {
  switch (look.match) {
    case Match::none:
      return "does not name the user or a group of his";
    case Match::everyone:
      return "is '*', everyone";
    case Match::user:
      return "names user " + quoted(look.matched);
    case Match::real_user:
      return "names the real user by " + quoted(look.matched);
    case Match::group:
      return "names group " + quoted(look.matched);
    case Match::groups_unknown:
      break;
  }
  return "has groups, and those of the user cannot be told";
}

std::string named(const kms::AclRule* rule) {
  return rule->property + " (line " + std::to_string(rule->origin.line) + ")";
}

// What a rule that is not there means.
std::string absence(const AclCheck& check, const RuleLook& look) {
  switch (look.kind) {
    case RuleKind::allow:
      return look.property.starts_with("hadoop.") ? "not set: everyone is admitted"
                                                  : "not set: nobody is admitted";
    case RuleKind::blacklist:
      return "not set: nobody is shut out";
    case RuleKind::key:
      return look.property.ends_with(".ALL")
                 ? "not set: nothing more is granted"
                 : "not set, and no default counts because of " + named(look.because) + ": denied";
    case RuleKind::key_default:
      return check.looks.size() == 2 && check.looks[1].rule == nullptr
                 ? "not set, nor any rule of the key: denied"
                 : "not set: denied";
    case RuleKind::whitelist:
      break;
  }
  return "not set: nothing more is granted";
}

std::string meaning(const AclCheck& check, const RuleLook& look) {
  if (look.rule == nullptr) return absence(check, look);
  if (!look.consulted) return "does not count because of " + named(look.because);
  const bool grants = look.kind != RuleKind::blacklist;
  const std::string verdict = look.match == Match::none ? (grants ? "" : ": not shut out")
                              : grants                  ? ": granted"
                                                        : ": shut out";
  return reason(look) + verdict;
}

std::string title(const AclCheck& check, const AclSubject& subject) {
  switch (check.level) {
    case AclCheck::Level::operation:
      return "operation ACL " + check.name;
    case AclCheck::Level::material:
      return "operation ACL " + check.name + ", since key material is given";
    case AclCheck::Level::key:
      break;
  }
  return "key ACL " + check.name + " of " + quoted(subject.key);
}

std::string place(const RuleLook& look) {
  return look.rule != nullptr ? look.rule->origin.text() + ": " : std::string();
}

std::string_view kind_name(RuleKind kind) {
  constexpr std::string_view names[] = {"acl", "blacklist", "key", "default", "whitelist"};
  return names[static_cast<std::size_t>(kind)];
}

std::string_view match_name(Match match) {
  constexpr std::string_view names[] = {"none",      "everyone", "user",
                                        "real_user", "group",    "groups_unknown"};
  return names[static_cast<std::size_t>(match)];
}

json_t* look_json(const RuleLook& look) {
  json_t* made = json_object();
  json_object_set_new(made, "kind", json_text(kind_name(look.kind)));
  json_object_set_new(made, "property", json_text(look.property));
  json_object_set_new(made, "set", json_boolean(look.rule != nullptr));
  if (look.because != nullptr) {
    json_object_set_new(made, "because", json_text(look.because->property));
    json_object_set_new(made, "because_line", json_integer(look.because->origin.line));
  }
  if (look.rule == nullptr) return made;
  json_object_set_new(made, "file", json_text(look.rule->origin.file));
  json_object_set_new(made, "line", json_integer(look.rule->origin.line));
  json_object_set_new(made, "value", json_text(look.rule->text));
  json_object_set_new(made, "consulted", json_boolean(look.consulted));
  json_object_set_new(made, "match", json_text(match_name(look.match)));
  if (!look.matched.empty()) json_object_set_new(made, "matched", json_text(look.matched));
  return made;
}

json_t* check_json(const AclCheck& check) {
  constexpr std::string_view levels[] = {"operation", "material", "key"};
  json_t* made = json_object();
  json_object_set_new(made, "level", json_text(levels[static_cast<std::size_t>(check.level)]));
  json_object_set_new(made, "acl", json_text(check.name));
  json_object_set_new(made, "allowed", json_boolean(check.allowed));
  json_t* looks = json_array();
  for (const RuleLook& look : check.looks) json_array_append_new(looks, look_json(look));
  json_object_set_new(made, "rules", looks);
  return made;
}

}  // namespace

std::string deciding_rule(const kms::AclExplanation& explanation, const std::string& file) {
  if (explanation.checks.empty()) return "hadoop.kms.key.authorization.enable is false";
  const RuleLook& look = explanation.rule();
  if (look.rule == nullptr)
    return file + ": " + look.property + " " + absence(explanation.decider(), look);
  return place(look) + look.property + " = " + quoted(look.rule->text) + " " +
         meaning(explanation.decider(), look);
}

void print_explanation(const kms::AclExplanation& explanation, const AclSubject& subject,
                       Output& out) {
  std::string what = shown(subject.user);
  if (!subject.real_user.empty()) what += " (by " + shown(subject.real_user) + ")";
  what += " " + subject.operation;
  if (!subject.key.empty()) what += " on " + quoted(subject.key);
  out.line((explanation.allowed ? "ALLOW " : "DENY ") + what);
  out.line("  by " + deciding_rule(explanation, subject.file));
  for (const AclCheck& check : explanation.checks) {
    out.line("");
    out.line(title(check, subject) + ": " + (check.allowed ? "allowed" : "denied"));
    Table table;
    for (const RuleLook& look : check.looks) {
      std::string value = look.rule != nullptr ? " = " + quoted(look.rule->text) : "";
      table.row({place(look) + look.property + value, meaning(check, look)});
    }
    table.print(out, "  ");
  }
}

json_t* explanation_json(const kms::AclExplanation& explanation) {
  json_t* made = json_object();
  json_object_set_new(made, "allowed", json_boolean(explanation.allowed));
  json_object_set_new(made, "decided_by",
                      explanation.checks.empty() ? json_null() : look_json(explanation.rule()));
  json_t* checks = json_array();
  for (const AclCheck& check : explanation.checks) json_array_append_new(checks, check_json(check));
  json_object_set_new(made, "checks", checks);
  return made;
}

}  // namespace kmsctl
