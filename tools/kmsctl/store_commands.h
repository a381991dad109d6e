// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_store_init(Invocation& call);
int run_store_status(Invocation& call);
int run_store_upgrade(Invocation& call);

}  // namespace kmsctl
