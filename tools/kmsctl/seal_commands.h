// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_seal_rewrap(Invocation& call);
int run_seal_settings(Invocation& call);
int run_seal_setup(Invocation& call);
int run_seal_trust(Invocation& call);
int run_seal_validate(Invocation& call);

}  // namespace kmsctl
