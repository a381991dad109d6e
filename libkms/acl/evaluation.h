// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "acl/acl_set.h"

namespace kms {

// Kinds of rules, in the order in which a check looks at them.
enum class RuleKind { allow, blacklist, key, key_default, whitelist };

// What a witness of an evaluation is told about.
struct LookedAt {
  RuleKind kind;
  std::size_t op;       // an OpAcl or a KeyOp
  const AclRule* rule;  // null: the file has none
  bool consulted;       // false: it is there but does not count
  Match match;
};

// For the server: nobody watches, and nothing is spent on it.
struct NoWitness {
  void looked_at(const LookedAt&) const noexcept {}
};

// The evaluator of kms-auth.md 6.3, the only one: the server runs it without a witness, explain()
// with one that writes down each step.
template <class Witness>
class AclSet::Evaluation {
 public:
  Evaluation(const AclSet& set, const Caller& caller, Groups& groups, Witness& witness)
      : set_(set), caller_(caller), groups_(groups), witness_(witness) {}

  bool op(OpAcl type) {
    const auto number = static_cast<std::size_t>(type);
    const Slot& allow = set_.allow_[number];
    const Match otherwise = is_hadoop_acl(type) ? Match::everyone : Match::none;
    const Match admitted = allow ? allow->list.match(caller_, groups_) : otherwise;
    tell(RuleKind::allow, number, allow, admitted);
    if (admitted == Match::none) return false;
    if (!is_hadoop_acl(type)) return true;
    const Slot& blacklist = set_.blacklist_[number];
    const Match shut_out =
        blacklist ? blacklist->list.match_blacklist(caller_, groups_) : Match::none;
    tell(RuleKind::blacklist, number, blacklist, shut_out);
    return shut_out == Match::none;
  }

  KeyDecision key(std::string_view acl_name, KeyOp op) {
    const auto found = set_.key_rules_.find(acl_name);
    const KeyRules* own = found != set_.key_rules_.end() ? &found->second : nullptr;
    KeyDecision decision;
    if (!set_.present(own, op)) {
      tell(RuleKind::key_default, static_cast<std::size_t>(op), kNoRule, Match::none);
      tell(RuleKind::whitelist, static_cast<std::size_t>(op), kNoRule, Match::none);
      return decision;
    }
    if (access(own, op)) {
      decision.allowed = true;
      return decision;
    }
    decision.denied_op = true;
    decision.allowed = access(own, KeyOp::all);
    decision.denied_all = !decision.allowed;
    return decision;
  }

 private:
  using Slot = std::optional<AclRule>;
  inline static const Slot kNoRule{};

  bool access(const KeyRules* own, KeyOp op) {
    const auto number = static_cast<std::size_t>(op);
    const Slot& usual = set_.default_rules_[number];
    // One rule for the key puts all defaults out of force for it.
    if (own != nullptr) {
      if (grants(RuleKind::key, number, (*own)[number])) return true;
      if (usual) witness_.looked_at({RuleKind::key_default, number, &*usual, false, Match::none});
    } else if (grants(RuleKind::key_default, number, usual)) {
      return true;
    }
    return grants(RuleKind::whitelist, number, set_.whitelist_rules_[number]);
  }

  bool grants(RuleKind kind, std::size_t number, const Slot& rule) {
    const Match match = rule ? rule->list.match(caller_, groups_) : Match::none;
    tell(kind, number, rule, match);
    return match != Match::none;
  }

  void tell(RuleKind kind, std::size_t number, const Slot& rule, Match match) {
    witness_.looked_at({kind, number, rule ? &*rule : nullptr, true, match});
  }

  const AclSet& set_;
  const Caller& caller_;
  Groups& groups_;
  Witness& witness_;
};

}  // namespace kms
