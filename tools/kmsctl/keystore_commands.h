// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_keystore_verify(Invocation& call);
int run_keystore_repair(Invocation& call);
int run_migrate(Invocation& call);

}  // namespace kmsctl
