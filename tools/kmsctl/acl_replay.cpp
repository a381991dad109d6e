// SPDX-License-Identifier: Apache-2.0
// acl replay: which calls of an audit log other rules would decide otherwise.
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <tuple>

#include "acl_commands.h"
#include "acl_text.h"
#include "audit_line.h"
#include "conf.h"
#include "metadata_file.h"
#include "progress.h"

namespace kmsctl {
namespace {

using kms::AuditStatus;

struct Decision {
  bool known = false;  // false: the user has no short name
  bool allowed = false;
  std::string rule;  // that decides
};

struct Difference {
  std::size_t calls = 0;
  std::string first, last, rule;
};

struct Counts {
  std::size_t lines = 0, judged = 0, other = 0, unreadable = 0, doubtful = 0, unknown = 0,
              without_key = 0;
};

class Replay {
 public:
  Replay(const std::string& file, const kms::AclSet& rules, Policy& policy,
         std::map<std::string, std::string> acl_names)
      : file_(file), rules_(rules), policy_(policy), acl_names_(std::move(acl_names)) {}

  void line(std::string_view text) {
    ++counts.lines;
    const auto parsed = parse_audit_line(text);
    if (!parsed) {
      ++counts.unreadable;
    } else if (parsed->status == AuditStatus::unauthenticated ||
               parsed->status == AuditStatus::error || parsed->op.starts_with("AUDIT_") ||
               parsed->op.ends_with("DELEGATIONTOKEN")) {
      ++counts.other;  // none of them says what an ACL decided
    } else if (parsed->doubtful) {
      ++counts.doubtful;
    } else if (parsed->status == AuditStatus::ok) {
      granted(*parsed);
    } else {
      denied(*parsed);
    }
  }
  // What was left open, at the end of the log.
  void finish() {
    for (const auto& [who, line] : pending_) settle(line);
    pending_.clear();
  }

  Counts counts;
  // What changed: allowed now?, user, operation, key.
  std::map<std::tuple<bool, std::string, std::string, std::string>, Difference> differences;

 private:
  using Who = std::pair<std::string, std::string>;  // user, key

  static bool is_key_op(std::string_view op) {
    return op == "READ" || op == "MANAGEMENT" || op == "GENERATE_EEK" || op == "DECRYPT_EEK";
  }

  void granted(const AuditLine& line) {
    const auto open = pending_.find(Who(line.user, line.key));
    if (open != pending_.end()) {
      // The line of a call that ALL granted comes at once.
      if (open->second.time.substr(0, 19) != line.time.substr(0, 19)) settle(open->second);
      pending_.erase(open);
    }
    judge(line, true, false);
  }

  void denied(const AuditLine& line) {
    const auto open = pending_.find(Who(line.user, line.key));
    if (line.op == "ALL") {
      if (open == pending_.end()) return;
      judge(open->second, false, true);
      pending_.erase(open);
      return;
    }
    if (open != pending_.end()) {
      settle(open->second);
      pending_.erase(open);
    }
    if (is_key_op(line.op) && !line.key.empty())
      pending_[Who(line.user, line.key)] = line;
    else
      judge(line, false, false);
  }

  // No line for ALL came. READ and MANAGEMENT are names of key ACLs only, so ALL granted; the other
  // two are operations as well, denied by their own ACL.
  void settle(const AuditLine& line) {
    if (kms::find_acl_operation(line.op)->is_request) judge(line, false, false);
  }

  // key_level: the line is of a check of a key ACL, after the one of the operation was passed.
  void judge(const AuditLine& line, bool was_allowed, bool key_level) {
    kms::AclQuestion question;
    question.operation = kms::find_acl_operation(line.op);
    if (question.operation == nullptr) {
      ++counts.unknown;
      return;
    }
    question.material = line.extra.starts_with("UserProvidedMaterial:true");
    question.key_authorization = policy_.key_authorization;
    question.skip_operation = key_level;
    question.skip_key = line.key.empty();
    const Decision& now = decide(question, line, key_level);
    if (!now.known) {
      ++counts.unknown;
      return;
    }
    ++counts.judged;
    if (question.operation->key_op && line.key.empty()) ++counts.without_key;
    if (now.allowed == was_allowed) return;
    Difference& difference = differences[{now.allowed, line.user, line.op, line.key}];
    if (difference.calls++ == 0) difference.first = line.time;
    difference.last = line.time;
    difference.rule = now.rule;
  }

  // The same question comes again and again.
  const Decision& decide(kms::AclQuestion& question, const AuditLine& line, bool key_level) {
    const auto [found, fresh] =
        decisions_.try_emplace({line.user, line.real_user, question.operation->name, line.key,
                                question.material, key_level});
    Decision& decision = found->second;
    if (!fresh) return decision;
    const auto user = policy_.names.short_name(line.user);
    if (!user.ok()) return decision;
    std::string real_user;
    if (!line.real_user.empty()) {
      auto real = policy_.names.short_name(line.real_user);
      if (!real.ok()) return decision;
      real_user = std::move(*real);
    }
    const auto named = acl_names_.find(line.key);
    // A line of a key ACL has the ACL name already.
    question.acl_name = named != acl_names_.end() && !key_level ? named->second : line.key;
    const auto explanation = kms::explain(rules_, question, {*user, real_user}, *policy_.groups);
    decision = {true, explanation.allowed, deciding_rule(explanation, file_)};
    return decision;
  }

  const std::string& file_;  // of the rules
  const kms::AclSet& rules_;
  Policy& policy_;
  const std::map<std::string, std::string> acl_names_;  // key to key.acl.name
  // A denial by a key ACL leaves two lines, one for the operation and one for ALL. Where ALL grants
  // there is only the first, and the line of the call itself.
  std::map<Who, AuditLine> pending_;
  std::map<std::tuple<std::string, std::string, std::string_view, std::string, bool, bool>,
           Decision>
      decisions_;  // by user, real user, operation, key, material, key level
};

void read_log(std::istream& in, const std::string& path, Replay& replay, Output& out) {
  constexpr std::size_t kBlock = 1 << 20;  // bytes for one step of the bar
  struct stat info {};
  const bool sized = stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  Progress progress(out, "MB read", sized ? static_cast<std::size_t>(info.st_size) / kBlock : 0);
  std::size_t bytes = 0;
  for (std::string line; std::getline(in, line);) {
    replay.line(line);
    bytes += line.size() + 1;
    for (; bytes >= kBlock; bytes -= kBlock) progress.step();
  }
  replay.finish();
}

void print_counts(const Counts& counts, std::size_t calls, Output& out) {
  const auto say = [&](std::size_t n, const char* what) {
    if (n > 0) out.line(std::to_string(n) + " " + what);
  };
  out.line(std::to_string(counts.lines) + " lines read, " + std::to_string(counts.judged) +
           " calls judged, " + std::to_string(calls) + " decided otherwise");
  say(counts.without_key, "of them by their operation ACL only, as the line has no key");
  say(counts.other,
      "lines of failed authentication, of other errors, of tokens and of the log itself: nothing "
      "to "
      "judge");
  say(counts.doubtful, "lines not judged: a name has marks, escapes or was cut");
  say(counts.unknown, "lines not judged: an unknown operation, or a user without a short name");
  say(counts.unreadable, "lines are no audit lines");
}

void set_counts(const Counts& counts, std::size_t calls, Output& out) {
  json_t* made = json_object();
  const auto set = [made](const char* name, std::size_t n) {
    json_object_set_new(made, name, json_integer(static_cast<json_int_t>(n)));
  };
  set("lines", counts.lines);
  set("judged", counts.judged);
  set("different", calls);
  set("without_key", counts.without_key);
  set("other", counts.other);
  set("doubtful", counts.doubtful);
  set("unknown", counts.unknown);
  set("unreadable", counts.unreadable);
  out.set("counts", made);
}

// All differences; how many calls they are.
std::size_t report(const Replay& replay, Output& out) {
  std::size_t calls = 0;
  json_t* list = json_array();
  for (const auto& [what, difference] : replay.differences) {
    const auto& [allowed, user, op, key] = what;
    calls += difference.calls;
    out.line(std::string(allowed ? "now ALLOWED: " : "now DENIED: ") + shown(user) + " " + op +
             (key.empty() ? "" : " on '" + shown(key) + "'") + ", " +
             std::to_string(difference.calls) + " calls, " + difference.first +
             (difference.calls > 1 ? " to " + difference.last : ""));
    out.line("  by " + difference.rule);
    json_t* one = json_object();
    json_object_set_new(one, "now_allowed", json_boolean(allowed));
    json_object_set_new(one, "user", json_text(user));
    json_object_set_new(one, "operation", json_text(op));
    json_object_set_new(one, "key", json_text(key));
    json_object_set_new(one, "calls", json_integer(static_cast<json_int_t>(difference.calls)));
    json_object_set_new(one, "first", json_text(difference.first));
    json_object_set_new(one, "last", json_text(difference.last));
    json_object_set_new(one, "rule", json_text(difference.rule));
    json_array_append_new(list, one);
  }
  out.set("differences", list);
  return calls;
}

}  // namespace

int run_acl_replay(Invocation& call) {
  auto conf = conf_of(call);
  if (!conf.ok()) return call.usage_error(conf.error().message);
  StderrLogger logger(call.out);
  auto policy = policy_of(call, *conf, logger);
  if (!policy.ok()) return call.fail(policy.error());
  std::vector<std::string> unheard;
  auto rules = kms::AclSet::load(call.arguments[0], unheard, conf->input.system_properties);
  if (!rules.ok()) return call.fail(rules.error());
  std::map<std::string, std::string> acl_names;
  if (call.has("metadata")) {
    auto named = read_acl_names(call.get("metadata"));
    if (!named.ok()) return call.fail(named.error());
    acl_names = std::move(*named);
  }
  Replay replay(call.arguments[0], **rules, *policy, std::move(acl_names));
  const std::string& path = call.arguments[1];
  if (path == "-") {
    read_log(std::cin, {}, replay, call.out);
  } else {
    std::ifstream in(path, std::ios::binary);
    if (!in) return call.fail(kUnreachable, path + ": cannot be read");
    read_log(in, path, replay, call.out);
  }
  const std::size_t calls = report(replay, call.out);
  print_counts(replay.counts, calls, call.out);
  set_counts(replay.counts, calls, call.out);
  return calls > 0 ? kNegative : kOk;
}

}  // namespace kmsctl
