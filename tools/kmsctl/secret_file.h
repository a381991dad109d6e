// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "command.h"
#include "core/secret.h"

namespace kmsctl {

// A password, a token or key material from a file ("-": stdin), without the white space around it,
// as Hadoop reads its password files. Errors (io) name the file.
Result<kms::Secret> read_secret_file(const std::string& path);

// Warns when others than the owner and its group can read the file.
void warn_of_open_secret(const std::string& path, Output& out);

}  // namespace kmsctl
