// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/result.h"
#include "output.h"

namespace kmsctl {

using kms::Error;
using kms::ErrorKind;
using kms::Result;

// Exit statuses, as kmsctl(1) says them.
enum Exit : int {
  kOk = 0,
  kNegative = 1,     // the answer is no, or something was found
  kUsage = 2,        // the command line is wrong
  kUnreachable = 3,  // a server, a file or the configuration cannot be reached or read
  kRefused = 4,      // the server refuses the user (401, 403)
  kFailed = 5,       // the server answers with another error, or the work failed
};
Exit exit_of(const Error& error);

// An option of a command. All options are long; a value follows after '=' or as the next word.
struct OptionSpec {
  const char* name;
  const char* value;  // its name in the usage; null: the option takes none
  const char* help;
  // For the completion: the possible values, separated by blanks; "@file", "@dir", "@user".
  const char* values = "";
  bool repeated = false;
};

class Invocation;

// A command. The usage text, the completion and the checks of the manual page go by this table.
struct CommandSpec {
  const char* group;                 // "acl"
  const char* name;                  // "explain"; empty: the group is the command
  const char* arguments;             // for the usage: "NEW AUDITLOG"
  int min_arguments, max_arguments;  // -1: any number
  const char* completion;            // of arguments, as OptionSpec::values
  const char* summary;
  std::span<const OptionSpec> options;
  bool conf = false;  // takes the options of the configuration
  bool rest = false;  // takes the options of the REST API
  int (*run)(Invocation&) = nullptr;

  std::string words() const { return std::string(group) + (*name ? " " : "") + name; }
  // Own, shared and global ones.
  std::vector<OptionSpec> all_options() const;
};

std::span<const CommandSpec> commands();
// Options that every command has, that those on the configuration have, and those on a server.
std::span<const OptionSpec> global_options();
std::span<const OptionSpec> conf_options();
std::span<const OptionSpec> rest_options();

// What was asked for: a command with its options and arguments, and where the answer goes.
class Invocation {
 public:
  Invocation(const CommandSpec& command, Output& out) : command(command), out(out) {}

  bool has(const std::string& option) const { return options.count(option) != 0; }
  std::string get(const std::string& option, std::string otherwise = {}) const;
  std::vector<std::string> all(const std::string& option) const;
  // A number in [min, max]; an Error (invalid_argument) names the option.
  Result<long> number(const std::string& option, long otherwise, long min, long max) const;

  // Says what is wrong with the command line.
  int usage_error(const std::string& text);
  // Says why the command failed; the exit status that fits.
  int fail(const Error& error);
  int fail(Exit exit, const std::string& text);

  const CommandSpec& command;
  Output& out;
  std::map<std::string, std::vector<std::string>> options;
  std::vector<std::string> arguments;
};

}  // namespace kmsctl
