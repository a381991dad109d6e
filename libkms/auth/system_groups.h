// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace kms {

// Names of the groups of a user by getpwnam_r, getgrouplist and getgrgid_r; none for an unknown
// user. Blocks as long as the system does. Errors (unavailable): the call that failed, and why.
Result<std::vector<std::string>> system_groups(const std::string& user);

}  // namespace kms
