// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_acl_explain(Invocation& call);
int run_acl_check(Invocation& call);
int run_acl_replay(Invocation& call);

}  // namespace kmsctl
