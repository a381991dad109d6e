// SPDX-License-Identifier: Apache-2.0
#include "help.h"

#include <sstream>

#include "acl/lint.h"
#include "acl/operations.h"
#include "keystore/jceks/verify.h"
#include "options.h"

namespace kmsctl {
namespace {

std::string usage_of(const CommandSpec& command) {
  return "kmsctl " + command.words() + " [OPTION...]" + (*command.arguments ? " " : "") +
         command.arguments;
}

void print_options(std::span<const OptionSpec> options, Output& out) {
  Table table;
  for (const OptionSpec& option : options) {
    const std::string value = option.value != nullptr ? " " + std::string(option.value) : "";
    table.row({"--" + std::string(option.name) + value, option.help});
  }
  table.print(out, "  ");
}

void print_command(const CommandSpec& command, Output& out) {
  out.line("usage: " + usage_of(command));
  out.line("");
  out.line(command.summary);
  out.line("");
  print_options(command.all_options(), out);
}

void print_commands(const std::string& group, Output& out) {
  Table table;
  for (const CommandSpec& command : commands())
    if (group.empty() || group == command.group)
      table.row(
          {command.words() + (*command.arguments ? " " : "") + command.arguments, command.summary});
  table.print(out, "  ");
}

json_t* option_json(const OptionSpec& option) {
  json_t* made = json_object();
  json_object_set_new(made, "name", json_string(option.name));
  json_object_set_new(made, "value",
                      option.value != nullptr ? json_string(option.value) : json_null());
  json_object_set_new(made, "help", json_string(option.help));
  return made;
}

json_t* options_json(std::span<const OptionSpec> options) {
  json_t* list = json_array();
  for (const OptionSpec& option : options) json_array_append_new(list, option_json(option));
  return list;
}

json_t* words_json(const std::vector<std::string_view>& words) {
  json_t* list = json_array();
  for (const std::string_view word : words) json_array_append_new(list, json_text(word));
  return list;
}

// Everything that the manual page and the completion are compared with.
void list_as_json(Output& out) {
  json_t* list = json_array();
  for (const CommandSpec& command : commands()) {
    json_t* one = json_object();
    json_object_set_new(one, "command", json_string(command.words().c_str()));
    json_object_set_new(one, "arguments", json_string(command.arguments));
    json_object_set_new(one, "summary", json_string(command.summary));
    json_object_set_new(one, "options", options_json(command.options));
    json_object_set_new(one, "conf", json_boolean(command.conf));
    json_object_set_new(one, "rest", json_boolean(command.rest));
    json_array_append_new(list, one);
  }
  out.set("commands", list);
  out.set("global_options", options_json(global_options()));
  out.set("conf_options", options_json(conf_options()));
  out.set("rest_options", options_json(rest_options()));
  out.set("acl_findings", words_json(kms::acl_finding_codes()));
  out.set("keystore_findings", words_json(kms::jceks::finding_codes()));
  std::vector<std::string_view> operations;
  for (const kms::AclOperation& each : kms::acl_operations()) operations.push_back(each.name);
  out.set("acl_operations", words_json(operations));
}

// Candidates for a word: words of a table's text, or the sign for the shell.
void offer(const std::string& values, const std::string& start, Output& out) {
  std::istringstream in(values);
  for (std::string word; in >> word;) {
    if (word == "@op") {
      for (const kms::AclOperation& each : kms::acl_operations())
        if (each.name.starts_with(start)) out.line(each.name);
    } else if (word.front() == '@' || word.starts_with(start)) {
      out.line(word);
    }
  }
}

// The option whose value the word at index is; null: none.
const OptionSpec* option_before(const std::vector<OptionSpec>& options,
                                const std::vector<std::string>& words, std::size_t index) {
  if (index == 0) return nullptr;
  for (const OptionSpec& option : options)
    if (option.value != nullptr && words[index - 1] == "--" + std::string(option.name))
      return &option;
  return nullptr;
}

void complete_command(const std::vector<std::string>& words, const std::string& start,
                      Output& out) {
  std::string last;
  for (const CommandSpec& command : commands()) {
    const bool inside = !words.empty() && words[0] == command.group;
    const std::string next = inside ? command.name : command.group;
    if (words.size() > 1 || (!words.empty() && !inside)) continue;
    if (next.empty() || next == last || !next.starts_with(start)) continue;
    out.line(next);
    last = next;
  }
}

void complete_option(const std::vector<OptionSpec>& options, const std::string& start,
                     Output& out) {
  for (const OptionSpec& option : options) {
    const std::string name = "--" + std::string(option.name);
    if (name.starts_with(start)) out.line(name);
  }
}

}  // namespace

int print_help(const std::vector<std::string>& words, Output& out) {
  std::size_t taken = 0;
  const CommandSpec* command = find_command(words, taken);
  if (out.json() && (command != nullptr || words.empty() || (taken == 1 && words.size() == 1)))
    list_as_json(out);
  if (command != nullptr) {
    print_command(*command, out);
    return kOk;
  }
  if (taken == 1 && words.size() == 1) {
    out.line("usage: kmsctl " + words[0] + " COMMAND [OPTION...] [ARGUMENT...]");
    out.line("");
    print_commands(words[0], out);
    return kOk;
  }
  if (!words.empty()) {
    out.error("no such command: " + shown(words[0]) +
              (words.size() > 1 ? " " + shown(words[1]) : ""));
    return kUsage;
  }
  out.line("usage: kmsctl [OPTION...] COMMAND [OPTION...] [ARGUMENT...]");
  out.line("");
  print_commands("", out);
  out.line("");
  out.line("Options of every command:");
  print_options(global_options(), out);
  out.line("");
  Table first;
  first.row({"httpd does not start", "kmsctl config check"});
  first.row({"are all keys there, and whole?", "kmsctl keystore verify"});
  first.row({"why was a call refused?", "kmsctl acl explain --user U --op DECRYPT_EEK --key K"});
  first.row({"was the audit log changed?", "kmsctl audit verify kms-audit.log.1 kms-audit.log"});
  out.line("Where to begin:");
  first.print(out, "  ");
  out.line("");
  out.line("Exit status: 0 done, or yes; 1 no, or something was found; 2 wrong command line;");
  out.line(
      "3 server, file or configuration out of reach; 4 the server refuses the user; 5 failed.");
  out.line("kmsctl(1) has examples of every command.");
  return kOk;
}

int run_help(Invocation& call) {
  return print_help(call.arguments, call.out);
}

int run_complete(Invocation& call) {
  std::vector<std::string> words(call.arguments.begin() + 1, call.arguments.end());
  std::size_t index = 0;
  try {
    index = std::stoul(call.arguments[0]);
  } catch (const std::exception&) {
    return call.usage_error("INDEX is no number");
  }
  words.resize(index + 1);
  const std::string start = words[index];
  // The words before that are neither options nor their values.
  std::vector<std::string> plain;
  std::vector<OptionSpec> options(global_options().begin(), global_options().end());
  for (std::size_t i = 0; i <= index; ++i) {
    std::size_t taken = 0;
    if (const CommandSpec* command = find_command(plain, taken)) options = command->all_options();
    const OptionSpec* option = option_before(options, words, i);
    if (i == index) {
      const CommandSpec* command = find_command(plain, taken);
      if (option != nullptr)
        offer(option->values, start, call.out);
      else if (start.starts_with('-'))
        complete_option(options, start, call.out);
      else if (command != nullptr)
        offer(command->completion, start, call.out);
      else
        complete_command(plain, start, call.out);
    } else if (option == nullptr && !words[i].starts_with('-')) {
      plain.push_back(words[i]);
    }
  }
  return kOk;
}

}  // namespace kmsctl
