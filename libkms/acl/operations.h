// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "acl/acl_set.h"

namespace kms {

// What the ACLs have to say to a request (the table of kms-auth.md 6.4), by the name that audit
// lines and refusals give it.
struct AclOperation {
  std::string_view name;        // "DECRYPT_EEK"
  std::optional<OpAcl> acl;     // nullopt: a key-level check on its own
  std::optional<OpAcl> or_acl;  // this one is enough as well
  std::optional<KeyOp> key_op;  // nullopt: no key-level check
  bool takes_material = false;  // needs SET_KEY_MATERIAL where material is given
  bool is_request = true;       // false: a name of the ACLs, no REST operation
};

// The operations of the REST API; then the ACLs' own names, so that "CREATE" or "READ" can be asked
// for; READ and MANAGEMENT are the key-level check alone, as in audit lines of its denials.
std::span<const AclOperation> acl_operations();
const AclOperation* find_acl_operation(std::string_view name);

}  // namespace kms
