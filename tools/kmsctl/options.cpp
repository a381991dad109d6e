// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <getopt.h>

#include <algorithm>
#include <utility>

namespace kmsctl {
namespace {

constexpr const char* kShortNames = "hq";

// Reads options into line.options until getopt_long is done with argv.
void read_options(int argc, char** argv, const std::vector<OptionSpec>& specs, bool stop_at_word,
                  CommandLine& line) {
  std::vector<option> table;
  for (const OptionSpec& spec : specs)
    table.push_back(
        {spec.name, spec.value != nullptr ? required_argument : no_argument, nullptr, 0});
  table.push_back({nullptr, 0, nullptr, 0});
  const std::string letters = (stop_at_word ? "+" : "") + std::string(kShortNames);
  optind = 0;  // as glibc wants it for a fresh start
  int which = 0;
  for (;;) {
    switch (getopt_long(argc, argv, letters.c_str(), table.data(), &which)) {
      case -1:
        return;
      case 'h':
        line.options["help"].emplace_back();
        break;
      case 'q':
        line.options["quiet"].emplace_back();
        break;
      case 0:
        line.options[specs[static_cast<std::size_t>(which)].name].emplace_back(
            optarg != nullptr ? optarg : "");
        break;
      default:
        line.bad_option = true;  // what follows is read all the same: --json may be in it
    }
  }
}

}  // namespace

const CommandSpec* find_command(const std::vector<std::string>& words, std::size_t& taken) {
  taken = 0;
  if (words.empty()) return nullptr;
  for (const CommandSpec& command : commands()) {
    if (command.group != words[0]) continue;
    taken = 1;
    if (*command.name == '\0') return &command;
    if (words.size() < 2 || command.name != words[1]) continue;
    taken = 2;
    return &command;
  }
  return nullptr;
}

CommandLine parse_command_line(int argc, char** argv) {
  CommandLine line;
  const auto global = global_options();
  read_options(argc, argv, {global.begin(), global.end()}, true, line);
  for (int i = optind; i < argc; ++i) line.words.emplace_back(argv[i]);
  std::size_t taken = 0;
  line.command = find_command(line.words, taken);
  if (line.command == nullptr) {
    if (std::find(line.words.begin(), line.words.end(), "--json") != line.words.end())
      line.options["json"].emplace_back();
    return line;
  }
  line.words.resize(taken);

  // The rest, with the last word of the command in the place of a program's name.
  const int first = optind + static_cast<int>(taken) - 1;
  char program[] = "kmsctl";
  char* const word = std::exchange(argv[first], program);
  read_options(argc - first, argv + first, line.command->all_options(), false, line);
  for (int i = first + optind; i < argc && !line.bad_option; ++i)
    line.arguments.emplace_back(argv[i]);
  argv[first] = word;
  return line;
}

}  // namespace kmsctl
