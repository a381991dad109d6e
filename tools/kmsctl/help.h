// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "command.h"

namespace kmsctl {

// The usage of the command, of the commands of the group, or of everything; kUsage where the words
// name nothing.
int print_help(const std::vector<std::string>& words, Output& out);

int run_help(Invocation& call);
// complete INDEX WORD...: for the shell; the words of a command line, and the place of the one to
// complete. Prints candidates, or one of @file, @dir, @user for what the shell knows itself.
int run_complete(Invocation& call);

}  // namespace kmsctl
