// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace kms {

// Short name of a user name under simple authentication without configured rules: Hadoop's
// RULE:[1:$1] RULE:[2:$1] (kms-auth.md 3.1, 3.2). "hdfs/nn@R" -> "hdfs"; a name without '/' and '@'
// stays. Error (authentication): "Malformed Kerberos name: X".
Result<std::string> short_name_simple(std::string_view principal);

}  // namespace kms
