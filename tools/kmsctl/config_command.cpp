// SPDX-License-Identifier: Apache-2.0
// config check: what apachectl configtest would say, and what is in force.
#include "config_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "conf.h"
#include "instance.h"

namespace kmsctl {
namespace {

// Keeps the warnings of the parts that are opened.
class Warnings final : public kms::Logger {
 public:
  void log(kms::LogLevel level, std::string_view id, std::string_view text) noexcept override {
    if (level == kms::LogLevel::warn || level == kms::LogLevel::error)
      lines.push_back(std::string(id) + ": " + std::string(text));
  }
  std::vector<std::string> lines;
};

// After Hadoop's hadoop.security.sensitive-config-keys.
bool is_secret(std::string_view name) {
  constexpr std::array<std::string_view, 5> ends = {"password", ".pass", "secret", "credential",
                                                    ".token"};
  return std::any_of(ends.begin(), ends.end(),
                     [name](std::string_view end) { return name.ends_with(end); }) ||
         name.find("secret.key") != std::string_view::npos;
}

json_t* lines_json(const std::vector<std::string>& lines) {
  json_t* list = json_array();
  for (const std::string& line : lines) json_array_append_new(list, json_text(line));
  return list;
}

// The properties in force, with where each was said.
void print_properties(const kms::hadoop::Configuration& merged, bool all, Output& out) {
  Table table;
  table.row({"PROPERTY", "VALUE", "ORIGIN"});
  json_t* list = json_array();
  for (const auto& [name, property] : merged.all()) {
    if (property.built_in && !all) continue;
    const bool secret = is_secret(name);
    const std::string value = secret ? "********" : merged.get(name).value_or("");
    table.row({shown(name), shown(value), property.origin.text()});
    json_t* one = json_object();
    json_object_set_new(one, "name", json_text(name));
    json_object_set_new(one, "value", secret ? json_null() : json_text(value));
    json_object_set_new(one, "secret", json_boolean(secret));
    json_object_set_new(one, "default", json_boolean(property.built_in));
    json_object_set_new(one, "file", json_text(property.origin.file));
    json_object_set_new(one, "line", json_integer(property.origin.line));
    json_array_append_new(list, one);
  }
  table.print(out);
  out.set("properties", list);
}

// What the module checks at a start, by the module's own code.
void open_instance(const Invocation& call, const Conf& conf, Warnings& warnings,
                   std::vector<std::string>& problems) {
  kms::InstanceOptions options;
  options.settings = conf.input;
  options.check_only = true;
  options.password_file = call.get("password-file");
  kms::Secret environment;
  if (const char* text = std::getenv("HADOOP_KEYSTORE_PASSWORD")) {
    environment = kms::Secret(std::string_view(text));
    options.environment_password = &environment;
  }
  // Only root can try as another user.
  if (geteuid() == 0 && conf.uid != static_cast<uid_t>(-1)) {
    options.uid = conf.uid;
    options.gid = conf.gid;
    options.user_name = conf.serving_user;
  }
  kms::Instance::open(options, warnings, problems);
}

}  // namespace

int run_config_check(Invocation& call) {
  auto conf = conf_of(call);
  if (!conf.ok()) return call.usage_error(conf.error().message);
  struct stat info {};
  if (stat(conf->input.conf_dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return call.fail(kUnreachable, conf->input.conf_dir + ": no such directory");
  Warnings warnings;
  std::vector<std::string> problems;
  open_instance(call, *conf, warnings, problems);
  for (const std::string& line : problems) call.out.line("error: " + shown(line));
  for (const std::string& line : warnings.lines) call.out.line("warning: " + shown(line));
  if (!problems.empty() || !warnings.lines.empty()) call.out.line("");
  kms::hadoop::SettingsErrors unheard;  // said above
  print_properties(kms::hadoop::read_configuration(conf->input, unheard), call.has("all"),
                   call.out);
  call.out.line("");
  call.out.line(conf->input.conf_dir + ": " + std::to_string(problems.size()) + " errors, " +
                std::to_string(warnings.lines.size()) + " warnings");
  call.out.set("errors", lines_json(problems));
  call.out.set("findings", lines_json(warnings.lines));
  return problems.empty() ? kOk : kNegative;
}

}  // namespace kmsctl
