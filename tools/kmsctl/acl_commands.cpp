// SPDX-License-Identifier: Apache-2.0
// acl explain, acl check.
#include "acl_commands.h"

#include <unistd.h>

#include "acl/lint.h"
#include "acl_text.h"
#include "conf.h"

namespace kmsctl {
namespace {

using Severity = kms::AclFinding::Severity;

std::string operation_names() {
  std::string names;
  for (const kms::AclOperation& each : kms::acl_operations())
    names += (names.empty() ? "" : " ") + std::string(each.name);
  return names;
}

// The question that the options ask; an error says what is missing.
Result<kms::AclQuestion> question_of(const Invocation& call) {
  const auto wrong = [](std::string text) {
    return Error(ErrorKind::invalid_argument, std::move(text));
  };
  if (call.get("user").empty()) return wrong("--user is missing");
  if (call.get("op").empty()) return wrong("--op is missing");
  kms::AclQuestion question;
  question.operation = kms::find_acl_operation(call.get("op"));
  if (question.operation == nullptr)
    return wrong("no such operation: " + shown(call.get("op")) +
                 "; there are: " + operation_names());
  if (question.operation->key_op && call.get("key").empty())
    return wrong("--key is missing; " + call.get("op") + " has a key ACL");
  if (!question.operation->key_op && call.has("key"))
    return wrong(call.get("op") + " has no key ACL, so --key means nothing");
  question.material = call.has("material");
  if (question.material && !question.operation->takes_material)
    return wrong("--material means nothing for " + call.get("op"));
  return question;
}

json_t* groups_json(kms::Groups& groups, const std::string& user) {
  json_t* list = json_array();
  for (const std::string& group : *groups.of(user)) json_array_append_new(list, json_text(group));
  return list;
}

std::string groups_text(kms::Groups& groups, const std::string& user) {
  auto known = groups.find(user);
  if (!known.ok()) return "cannot be told: " + known.error().message;
  std::string text;
  for (const std::string& group : **known) text += (text.empty() ? "" : ", ") + shown(group);
  return text.empty() ? "none" : text;
}

json_t* finding_json(const kms::AclFinding& finding) {
  json_t* made = json_object();
  json_object_set_new(made, "severity", json_text(kms::severity_name(finding.severity)));
  json_object_set_new(made, "code", json_text(finding.code));
  json_object_set_new(made, "file", json_text(finding.origin.file));
  json_object_set_new(made, "line", json_integer(finding.origin.line));
  json_object_set_new(made, "property", json_text(finding.property));
  json_object_set_new(made, "text", json_text(finding.text));
  return made;
}

}  // namespace

int run_acl_explain(Invocation& call) {
  auto question = question_of(call);
  if (!question.ok()) return call.usage_error(question.error().message);
  auto conf = conf_of(call);
  if (!conf.ok()) return call.usage_error(conf.error().message);
  StderrLogger logger(call.out);
  auto policy = policy_of(call, *conf, logger);
  if (!policy.ok()) return call.fail(policy.error());
  std::vector<std::string> unheard;  // what acl check tells
  const std::string file = acl_path(call, *conf);
  auto rules = kms::AclSet::load(file, unheard, conf->input.system_properties);
  if (!rules.ok()) return call.fail(rules.error());

  auto user = policy->names.short_name(call.get("user"));
  if (!user.ok()) return call.fail(user.error());
  std::string real_user;
  if (call.has("real-user")) {
    auto real = policy->names.short_name(call.get("real-user"));
    if (!real.ok()) return call.fail(real.error());
    real_user = *real;
  }
  const AclSubject subject{*user, real_user, call.get("op"), call.get("key"), file};
  question->acl_name = subject.key;
  question->key_authorization = policy->key_authorization;
  const kms::AclExplanation explanation =
      kms::explain(**rules, *question, {subject.user, subject.real_user}, *policy->groups);
  print_explanation(explanation, subject, call.out);
  call.out.line("");
  call.out.line("groups of " + shown(*user) + ": " + groups_text(*policy->groups, *user) +
                " (from " + policy->groups_source + ")");
  call.out.set("file", file);
  call.out.set("user", *user);
  call.out.set("operation", subject.operation);
  if (!subject.key.empty()) call.out.set("key", subject.key);
  call.out.set("groups", groups_json(*policy->groups, *user));
  call.out.set("explanation", explanation_json(explanation));
  return explanation.allowed ? kOk : kNegative;
}

int run_acl_check(Invocation& call) {
  auto conf = conf_of(call);
  if (!conf.ok()) return call.usage_error(conf.error().message);
  const std::string path = call.arguments.empty() ? acl_path(call, *conf) : call.arguments.front();
  auto findings = kms::lint_acls(path, conf->input.system_properties);
  if (!findings.ok())
    // A file that does not parse is a finding; one that cannot be read is not.
    return call.fail(access(path.c_str(), R_OK) == 0 ? kNegative : kUnreachable,
                     findings.error().message);
  std::size_t counts[3] = {};
  json_t* list = json_array();
  for (const kms::AclFinding& finding : *findings) {
    ++counts[static_cast<std::size_t>(finding.severity)];
    json_array_append_new(list, finding_json(finding));
    if (finding.severity == Severity::note && call.out.quiet()) continue;
    const std::string property = finding.property.empty() ? "" : shown(finding.property) + ": ";
    call.out.line(finding.origin.text() + ": " + std::string(kms::severity_name(finding.severity)) +
                  ": " + property + shown(finding.text) + " [" + std::string(finding.code) + "]");
  }
  const std::size_t errors = counts[static_cast<std::size_t>(Severity::error)];
  const std::size_t warnings = counts[static_cast<std::size_t>(Severity::warning)];
  call.out.line(path + ": " + std::to_string(errors) + " errors, " + std::to_string(warnings) +
                " warnings, " + std::to_string(counts[0]) + " notes");
  call.out.set("file", path);
  call.out.set("findings", list);
  return errors > 0 || (call.has("strict") && warnings > 0) ? kNegative : kOk;
}

}  // namespace kmsctl
