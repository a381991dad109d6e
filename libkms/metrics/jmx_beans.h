// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hadoop/wire_json.h"
#include "metrics/jmx.h"

namespace kms {

// All beans, an array; each has "name" and "modelerType" and then its attributes.
hadoop::JsonPtr jmx_beans(const JmxRequest& request);

}  // namespace kms
