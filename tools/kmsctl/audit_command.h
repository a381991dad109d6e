// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_audit_verify(Invocation& call);

}  // namespace kmsctl
