// SPDX-License-Identifier: Apache-2.0
#include "acl/explain.h"

namespace kms {

// A witness that names each rule.
class AclExplainer {
 public:
  AclExplainer(const AclSet& rules, const Caller& caller, Groups& groups)
      : rules_(rules), caller_(caller), groups_(groups) {}

  AclCheck op(AclCheck::Level level, OpAcl type) {
    check_ = {level, std::string(op_acl_name(type)), false, {}, 0};
    check_.allowed = AclSet::Evaluation(rules_, caller_, groups_, *this).op(type);
    // A refusal by the blacklist was decided there, all else by the list before it.
    check_.decided = !check_.allowed && check_.looks.size() > 1 ? 1 : 0;
    return std::move(check_);
  }

  AclCheck key(std::string_view acl_name, KeyOp op) {
    acl_name_ = acl_name;
    check_ = {AclCheck::Level::key, std::string(key_op_name(op)), false, {}, 0};
    check_.allowed = AclSet::Evaluation(rules_, caller_, groups_, *this).key(acl_name, op).allowed;
    // What grants is looked at last; a refusal is because of the first.
    check_.decided = check_.allowed ? check_.looks.size() - 1 : 0;
    return std::move(check_);
  }

  void looked_at(const LookedAt& at) {
    // ALL is a rule of single keys only; the others have no place for it.
    const bool all = at.kind != RuleKind::allow && at.kind != RuleKind::blacklist &&
                     static_cast<KeyOp>(at.op) == KeyOp::all;
    if (all && at.kind != RuleKind::key) return;
    check_.looks.push_back(
        {at.kind, property_of(at), at.rule, at.consulted, at.match, matched_by(at), because(at)});
  }

 private:
  static std::string key_op(const LookedAt& at) {
    return std::string(key_op_name(static_cast<KeyOp>(at.op)));
  }

  std::string property_of(const LookedAt& at) const {
    if (at.rule != nullptr) return at.rule->property;
    switch (at.kind) {
      case RuleKind::allow:
        return op_acl_property(static_cast<OpAcl>(at.op));
      case RuleKind::blacklist:
        return "hadoop.kms.blacklist." + std::string(op_acl_name(static_cast<OpAcl>(at.op)));
      case RuleKind::key:
        return "key.acl." + acl_name_ + "." + key_op(at);
      case RuleKind::key_default:
        return "default.key.acl." + key_op(at);
      case RuleKind::whitelist:
        break;
    }
    return "whitelist.key.acl." + key_op(at);
  }

  // The first rule of the key in the file.
  const AclRule* because(const LookedAt& at) const {
    const bool missing = at.kind == RuleKind::key && at.rule == nullptr;
    const auto own = rules_.key_rules_.find(acl_name_);
    if ((!missing && at.consulted) || own == rules_.key_rules_.end()) return nullptr;
    const AclRule* first = nullptr;
    for (const auto& rule : own->second)
      if (rule && (first == nullptr || rule->origin.line < first->origin.line)) first = &*rule;
    return first;
  }

  std::string matched_by(const LookedAt& at) const {
    switch (at.match) {
      case Match::user:
        return std::string(caller_.user);
      case Match::real_user:
        return "~" + std::string(caller_.real_user);
      case Match::group:
        for (const std::string& group : *groups_.of(caller_.user))
          if (at.rule->list.groups().count(group) != 0) return group;
        break;
      default:
        break;
    }
    return {};
  }

  const AclSet& rules_;
  const Caller& caller_;
  Groups& groups_;
  std::string acl_name_;
  AclCheck check_;
};

namespace {

void add(AclExplanation& all, AclCheck check) {
  all.allowed = check.allowed;
  all.decided = all.checks.size();
  all.checks.push_back(std::move(check));
}

}  // namespace

AclExplanation explain(const AclSet& rules, const AclQuestion& question, const Caller& caller,
                       Groups& groups) {
  const AclOperation& operation = *question.operation;
  AclExplainer explainer(rules, caller, groups);
  AclExplanation all;
  all.allowed = true;
  if (operation.acl && !question.skip_operation) {
    add(all, explainer.op(AclCheck::Level::operation, *operation.acl));
    if (!all.allowed && operation.or_acl)
      add(all, explainer.op(AclCheck::Level::operation, *operation.or_acl));
  }
  if (all.allowed && operation.takes_material && question.material)
    add(all, explainer.op(AclCheck::Level::material, OpAcl::set_key_material));
  if (all.allowed && operation.key_op && question.key_authorization && !question.skip_key)
    add(all, explainer.key(question.acl_name, *operation.key_op));
  return all;
}

}  // namespace kms
