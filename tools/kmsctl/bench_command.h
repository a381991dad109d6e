// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_bench(Invocation& call);

}  // namespace kmsctl
