// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace kms {

// The principals of a keytab file, "HTTP/host@REALM", each once, in the order of the file. An error
// says why libkrb5 cannot read the file. Keys are looked at by nobody.
Result<std::vector<std::string>> keytab_principals(const std::string& file);

}  // namespace kms
