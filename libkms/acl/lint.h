// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "acl/acl_finding.h"
#include "acl/acl_set.h"

namespace kms {

// Everything about a kms-acls.xml that its author should know, in the order of its lines: rules
// that are skipped or say other than they seem to, rules that can have no effect, defaults that one
// rule of a key puts out of force. An error when the file cannot be read or is not well-formed.
Result<std::vector<AclFinding>> lint_acls(const std::string& path,
                                          const AclSet::Properties& system_properties = {});

// Every code that a finding can have, for the documentation.
std::vector<std::string_view> acl_finding_codes();

}  // namespace kms
