// SPDX-License-Identifier: Apache-2.0
#include "acl/lint.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "acl/operations.h"

namespace kms {
namespace {

using enum AclFinding::Severity;

constexpr std::string_view kCodes[] = {
    // What the builder says of single rules.
    "unknown-operation", "no-acl", "users-as-groups", "blank-in-name", "no-wildcard",
    "star-admits-everyone", "empty-value", "undefined-variable",
    // What shows only with the others.
    "include", "overwritten", "unreachable", "blacklisted", "default-shadowed", "op-denied",
    "full-principal", "misplaced-tilde", "open-operation", "no-default"};

constexpr std::size_t kSharedKeyOps = kKeyOpCount - 1;  // all but ALL

template <class Items>
std::string listed(const Items& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + std::string(item);
  return text;
}

// Which op ACLs lead to a key-level check of this operation; all of them for ALL.
std::set<OpAcl> op_acls_before(KeyOp op) {
  std::set<OpAcl> acls;
  for (const AclOperation& operation : acl_operations()) {
    if (!operation.is_request || !operation.key_op) continue;
    if (op != KeyOp::all && *operation.key_op != op) continue;
    acls.insert(*operation.acl);
    if (operation.or_acl) acls.insert(*operation.or_acl);
  }
  return acls;
}

// "FILE:LINE: TEXT", as the reader of the XML says it.
AclFinding of_reader(const std::string& line) {
  AclFinding finding{warning, "include", {line, 0}, {}, {}};
  const std::size_t text = line.find(": ");
  if (text == std::string::npos) return finding;
  finding.text = line.substr(text + 2);
  finding.origin.file = line.substr(0, text);
  const std::size_t colon = finding.origin.file.rfind(':');
  if (colon == std::string::npos) return finding;
  const char* end = finding.origin.file.data() + finding.origin.file.size();
  std::from_chars(finding.origin.file.data() + colon + 1, end, finding.origin.line);
  finding.origin.file.resize(colon);
  return finding;
}

}  // namespace

class AclLint {
 public:
  AclLint(const std::string& path, const AclSet& rules, std::vector<AclFinding>& findings)
      : path_(path), rules_(rules), findings_(findings) {}

  void run() {
    std::vector<std::string_view> open;
    for (std::size_t i = 0; i < kOpAclCount; ++i) check_op(static_cast<OpAcl>(i), open);
    if (!open.empty())
      add(note, "open-operation", {path_, 0}, {},
          "no hadoop.kms.acl.* rule, so everyone is admitted (by a key ACL as well where there is "
          "one): " +
              listed(open));
    for (std::size_t i = 0; i < kSharedKeyOps; ++i) check_shared(static_cast<KeyOp>(i));
    for (const auto& [name, own] : rules_.key_rules_) check_key(name, own);
    each_rule([this](const AclRule& rule) { check_names(rule); });
  }

 private:
  using Rule = std::optional<AclRule>;

  void add(AclFinding::Severity severity, std::string_view code, const hadoop::Origin& origin,
           const std::string& property, std::string text) {
    findings_.push_back({severity, code, origin, property, std::move(text)});
  }
  void add(AclFinding::Severity severity, std::string_view code, const AclRule& rule,
           std::string text) {
    add(severity, code, rule.origin, rule.property, std::move(text));
  }
  static std::string named(const AclRule& rule) {
    return rule.property + " (" + rule.origin.text() + ")";
  }
  static bool nobody(const AclRule& rule) {
    return !rule.list.everyone() && rule.list.users().empty() && rule.list.groups().empty();
  }

  void check_op(OpAcl type, std::vector<std::string_view>& open) {
    const auto number = static_cast<std::size_t>(type);
    const Rule &allow = rules_.allow_[number], &blacklist = rules_.blacklist_[number];
    if (!allow && is_hadoop_acl(type)) open.push_back(op_acl_name(type));
    if (!blacklist) return;
    if (blacklist->list.everyone()) {
      add(warning, "blacklisted", *blacklist, "shuts everyone out");
      if (allow) add(warning, "unreachable", *allow, named(*blacklist) + " shuts everyone out");
      return;
    }
    if (!allow) return;
    if (nobody(*allow)) {
      add(warning, "unreachable", *blacklist,
          named(*allow) + " admits nobody, so there is nobody to shut out");
      return;
    }
    report_common(*allow, *blacklist);
  }

  void report_common(const AclRule& allow, const AclRule& blacklist) {
    for (const std::string& user : allow.list.users())
      if (blacklist.list.users().count(user) != 0)
        add(warning, "blacklisted", allow,
            "does not admit user '" + user + "', " + named(blacklist) + " wins");
    for (const std::string& group : allow.list.groups())
      if (blacklist.list.groups().count(group) != 0)
        add(warning, "blacklisted", allow,
            "does not admit group '" + group + "', " + named(blacklist) + " wins");
  }

  // The default and the whitelist of one operation.
  void check_shared(KeyOp op) {
    const auto number = static_cast<std::size_t>(op);
    const Rule &usual = rules_.default_rules_[number], &white = rules_.whitelist_rules_[number];
    if (!usual)
      add(note, "no-default", {path_, 0}, "default.key.acl." + std::string(key_op_name(op)),
          "not set: for keys without rules of their own it is denied" +
              (white ? " to all but " + named(*white) : std::string()));
    if (usual && white && white->list.everyone())
      add(warning, "unreachable", *usual, named(*white) + " admits everyone");
    for (const Rule* rule : {&usual, &white})
      if (*rule) check_op_level(**rule, op);
  }

  void check_key(const std::string& name, const AclSet::KeyRules& own) {
    const Rule& all = own[static_cast<std::size_t>(KeyOp::all)];
    for (std::size_t i = 0; i < kKeyOpCount; ++i)
      if (own[i]) check_op_level(*own[i], static_cast<KeyOp>(i));
    std::vector<std::string> lost, defaults;
    for (std::size_t i = 0; i < kSharedKeyOps; ++i) {
      const Rule &usual = rules_.default_rules_[i], &white = rules_.whitelist_rules_[i];
      const bool open = white && white->list.everyone();
      if (own[i] && open)
        add(warning, "unreachable", *own[i], named(*white) + " admits everyone");
      else if (own[i] && all && all->list.everyone())
        add(warning, "unreachable", *own[i], named(*all) + " admits everyone");
      if (own[i] || all || open || !usual || nobody(*usual)) continue;
      lost.emplace_back(key_op_name(static_cast<KeyOp>(i)));
      defaults.push_back(named(*usual));
    }
    if (lost.empty()) return;
    const auto first = std::find_if(own.begin(), own.end(), [](const Rule& r) { return !!r; });
    add(warning, "default-shadowed", **first,
        "one rule for key '" + name +
            "' puts all defaults out of force for it, so nobody that no "
            "whitelist names may " +
            listed(lost) + "; not in force: " + listed(defaults));
  }

  // Users whom no op ACL lets through to this key-level rule.
  void check_op_level(const AclRule& rule, KeyOp op) {
    if (rule.list.everyone()) return;
    std::set<OpAcl> before = op_acls_before(op);
    // Which admit nobody by default, so that they need not be named.
    std::erase_if(before, [this](OpAcl acl) {
      return !is_hadoop_acl(acl) && !rules_.allow_[static_cast<std::size_t>(acl)];
    });
    std::vector<std::string_view> names;
    for (const OpAcl acl : before) names.push_back(op_acl_name(acl));
    for (const std::string& user : rule.list.users()) {
      if (user.front() == '~') continue;
      const auto passes = [&](OpAcl acl) { return may_pass(user, acl); };
      if (std::none_of(before.begin(), before.end(), passes))
        add(warning, "op-denied", rule,
            "admits '" + user + "' to nothing: hadoop.kms.acl.* and hadoop.kms.blacklist.* deny " +
                listed(names));
    }
  }

  // By name; groups are not looked up, so that a rule with groups may admit anybody.
  bool may_pass(const std::string& user, OpAcl acl) const {
    const auto number = static_cast<std::size_t>(acl);
    const Rule &allow = rules_.allow_[number], &blacklist = rules_.blacklist_[number];
    if (allow && !allow->list.everyone() && allow->list.groups().empty() &&
        allow->list.users().count(user) == 0)
      return false;
    return !blacklist || (!blacklist->list.everyone() && blacklist->list.users().count(user) == 0);
  }

  void check_names(const AclRule& rule) {
    for (const std::string& user : rule.list.users())
      if (user.find_first_of("/@") != std::string::npos)
        add(warning, "full-principal", rule,
            "'" + user + "' looks like a full principal; lists hold short names");
    for (const std::string& group : rule.list.groups())
      if (group.front() == '~')
        add(warning, "misplaced-tilde", rule,
            "'" + group + "' is taken as a group; '~' works among the users only");
  }

  void each_rule(const std::function<void(const AclRule&)>& visit) {
    const auto each = [&](const auto& rules) {
      for (const Rule& rule : rules)
        if (rule) visit(*rule);
    };
    each(rules_.allow_);
    each(rules_.blacklist_);
    each(rules_.default_rules_);
    each(rules_.whitelist_rules_);
    for (const auto& [name, own] : rules_.key_rules_) each(own);
  }

  const std::string& path_;
  const AclSet& rules_;
  std::vector<AclFinding>& findings_;
};

namespace {

// What another line of the same name beats.
void report_overwritten(const std::vector<hadoop::Property>& written,
                        const hadoop::Configuration& merged, std::vector<AclFinding>& findings) {
  for (const hadoop::Property& property : written) {
    const hadoop::Property* winner = merged.find(property.name);
    if (!property.has_value || winner == nullptr || winner->origin == property.origin) continue;
    findings.push_back({warning, "overwritten", property.origin, property.name,
                        "has no effect: " + winner->origin.text() + " says it too, and wins"});
  }
}

}  // namespace

Result<std::vector<AclFinding>> lint_acls(const std::string& path,
                                          const AclSet::Properties& system_properties) {
  std::vector<AclFinding> findings;
  std::vector<std::string> of_xml;
  auto written = hadoop::read_site_xml(path, &of_xml);
  if (!written.ok()) return std::move(written).error();
  for (const std::string& line : of_xml) findings.push_back(of_reader(line));
  hadoop::Configuration merged;
  merged.system_properties = system_properties;
  merged.add(*written);
  report_overwritten(*written, merged, findings);
  auto rules = AclSet::build(merged, findings);
  if (!rules.ok()) return std::move(rules).error();
  AclLint(path, **rules, findings).run();
  const auto place = [&](const AclFinding& f) {
    return std::tuple(f.origin.file != path, f.origin.file, f.origin.line);
  };
  std::stable_sort(findings.begin(), findings.end(),
                   [&](const AclFinding& a, const AclFinding& b) { return place(a) < place(b); });
  return findings;
}

std::vector<std::string_view> acl_finding_codes() {
  return {std::begin(kCodes), std::end(kCodes)};
}

}  // namespace kms
