// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "acl/acl_set.h"
#include "acl/evaluation.h"
#include "acl/operations.h"

namespace kms {

// One rule that a check looked at, or the place of one that the file does not have.
struct RuleLook {
  RuleKind kind = RuleKind::allow;
  std::string property;           // the name it has, or would have, in the file
  const AclRule* rule = nullptr;  // null: the file has none. Lives as long as the AclSet
  bool consulted = true;          // false: it is there but does not count
  Match match = Match::none;      // why it holds the caller
  std::string matched;            // the user or group of the rule that holds the caller
  // Of a key's missing rule and of a default that does not count: the rule of the key because of
  // which that is so.
  const AclRule* because = nullptr;
};

// One check of a request and what it came to.
struct AclCheck {
  enum class Level { operation, material, key } level = Level::operation;
  std::string name;  // of the ACL: "DECRYPT_EEK", "READ"
  bool allowed = false;
  std::vector<RuleLook> looks;  // in the order of evaluation
  std::size_t decided = 0;      // of looks: the one that decided
};

struct AclExplanation {
  bool allowed = false;
  std::vector<AclCheck> checks;  // in order; the first one that denies is the last
  std::size_t decided = 0;       // of checks: the one that decided
  const AclCheck& decider() const { return checks[decided]; }
  const RuleLook& rule() const { return decider().looks[decider().decided]; }
};

struct AclQuestion {
  const AclOperation* operation = nullptr;
  std::string_view acl_name;      // of the key, where the operation has a key-level check
  bool material = false;          // the request brings key material
  bool key_authorization = true;  // hadoop.kms.key.authorization.enable
  // Looks at the key level only, or at the operation level only.
  bool skip_operation = false, skip_key = false;
};

// What the server would decide, by the server's own evaluator, with each rule on the way. Without
// any check left to look at it is allowed, and checks is empty.
AclExplanation explain(const AclSet& rules, const AclQuestion& question, const Caller& caller,
                       Groups& groups);

}  // namespace kms
