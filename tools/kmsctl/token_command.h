// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_token_show(Invocation& call);

}  // namespace kmsctl
