// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "command.h"

namespace kmsctl {

// A command line taken apart by getopt_long.
struct CommandLine {
  std::vector<std::string> words;        // those that name the command or only its group
  const CommandSpec* command = nullptr;  // null: words name none
  std::map<std::string, std::vector<std::string>> options;
  std::vector<std::string> arguments;
  bool bad_option = false;  // getopt_long has said why on stderr
};

// Options that every command has may stand before the command as well.
CommandLine parse_command_line(int argc, char** argv);

// The command that the words begin with; taken is how many of them name it. Null: none.
const CommandSpec* find_command(const std::vector<std::string>& words, std::size_t& taken);

}  // namespace kmsctl
