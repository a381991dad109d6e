// SPDX-License-Identifier: Apache-2.0
// kmsctl, the operator's tool.
#include <malloc.h>
#include <openssl/crypto.h>

#include <csignal>
#include <cstdlib>
#include <exception>

#include "config.h"
#include "help.h"
#include "options.h"

namespace kmsctl {
namespace {

// Answers of a server may hold key material; what the JSON library gives back is wiped.
void wiping_free(void* memory) {
  if (memory == nullptr) return;
  OPENSSL_cleanse(memory, malloc_usable_size(memory));
  std::free(memory);
}

int check_and_run(CommandLine line, Output& out) {
  Invocation call(*line.command, out);
  call.options = std::move(line.options);
  call.arguments = std::move(line.arguments);
  const auto given = static_cast<int>(call.arguments.size());
  if (given < line.command->min_arguments)
    return call.usage_error("too few arguments for " + line.command->words());
  if (line.command->max_arguments >= 0 && given > line.command->max_arguments)
    return call.usage_error("an argument too many for " + line.command->words() + ": " +
                            shown(call.arguments[line.command->max_arguments]));
  return line.command->run(call);
}

int run(int argc, char** argv, Output& out) {
  CommandLine line = parse_command_line(argc, argv);
  out.set_json(line.options.count("json") != 0);
  out.set_quiet(line.options.count("quiet") != 0);
  if (line.bad_option) {
    out.set("error", "an option is wrong");
    return kUsage;
  }
  if (line.options.count("help") != 0) return print_help(line.words, out);
  if (line.options.count("version") != 0) {
    out.line("kmsctl " PACKAGE_VERSION);
    out.set("version", PACKAGE_VERSION);
    return kOk;
  }
  if (line.command == nullptr) {
    out.error(line.words.empty() ? "no command"
                                 : "no such command: " + shown(line.words[0]) +
                                       (line.words.size() > 1 ? " " + shown(line.words[1]) : ""));
    out.note("kmsctl help lists the commands");
    return kUsage;
  }
  return check_and_run(std::move(line), out);
}

int guarded_main(int argc, char** argv) {
  Output out;
  int exit = kFailed;
  try {
    exit = run(argc, argv, out);
  } catch (const std::exception& e) {
    out.error(std::string("unexpected: ") + e.what());
  }
  if (!out.finish(exit) && (exit == kOk || exit == kNegative)) exit = kUnreachable;
  return exit;
}

}  // namespace
}  // namespace kmsctl

int main(int argc, char** argv) {
  json_set_alloc_funcs(std::malloc, kmsctl::wiping_free);
  std::signal(SIGPIPE, SIG_IGN);
  return kmsctl::guarded_main(argc, argv);
}
