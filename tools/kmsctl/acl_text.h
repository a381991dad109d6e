// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "acl/explain.h"
#include "output.h"

namespace kmsctl {

// Explanations of ACL decisions for people and as JSON.
struct AclSubject {
  std::string user, real_user, operation, key;
  std::string file;  // of the ACLs
};

void print_explanation(const kms::AclExplanation& explanation, const AclSubject& subject,
                       Output& out);
// "FILE:LINE: PROPERTY = 'TEXT'" of the rule that decided, or what is not set in the
// file.
std::string deciding_rule(const kms::AclExplanation& explanation, const std::string& file);
json_t* explanation_json(const kms::AclExplanation& explanation);

}  // namespace kmsctl
