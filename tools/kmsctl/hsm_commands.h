// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"

namespace kmsctl {

int run_hsm_status(Invocation& call);
int run_hsm_reconcile(Invocation& call);
int run_hsm_doctor(Invocation& call);
int run_hsm_adopt(Invocation& call);
int run_hsm_forget(Invocation& call);

}  // namespace kmsctl
