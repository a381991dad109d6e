// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/result.h"
#include "core/secret.h"

namespace kms {

// A file that holds a secret, of at most most bytes. what names it in messages. Errors
// (configuration): not a regular file, too long, or others than its owner and group may read it, or
// others than its owner may change it.
Result<Secret> read_private_file(const std::string& path, const std::string& what,
                                 std::size_t most);
// The same for a text, without the white space around it; an empty one is an error.
Result<Secret> read_private_text(const std::string& path, const std::string& what);

}  // namespace kms
