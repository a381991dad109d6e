// SPDX-License-Identifier: Apache-2.0
#include "conf.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "auth/text.h"

namespace kmsctl {
namespace {

constexpr const char* kDefaultConf = "/etc/hadoop-kms/conf";

Error wrong(std::string text) {
  return Error(ErrorKind::invalid_argument, std::move(text));
}

// The mapping of --groups-file in the form of hadoop.user.group.static.mapping.overrides.
Result<std::string> read_mapping(const std::string& path) {
  std::ifstream in(path);
  if (!in) return Error(ErrorKind::io, path + ": cannot be read");
  std::string mapping, line;
  for (int number = 1; std::getline(in, line); ++number) {
    const std::string_view text = kms::java_trim(line);
    if (text.empty() || text.front() == '#') continue;
    if (text.find('=') == std::string_view::npos || text.find(';') != std::string_view::npos)
      return Error(ErrorKind::io, path + ":" + std::to_string(number) + ": not USER=GROUP,GROUP");
    mapping += std::string(text) + ";";
  }
  return mapping;
}

Result<std::unique_ptr<kms::Groups>> groups_of(const Invocation& call,
                                               const kms::hadoop::Settings& settings,
                                               std::string& source, kms::Logger& logger) {
  kms::Groups::Options options;
  options.static_mapping = settings.group_static_mapping;
  source = "the system and hadoop.user.group.static.mapping.overrides";
  if (call.has("groups")) {
    source = "--groups";
    options.static_mapping.clear();
    const auto groups = kms::split_list(call.get("groups"));
    options.lookup = [groups](const std::string&) { return groups; };
  } else if (call.has("groups-file")) {
    source = call.get("groups-file");
    auto mapping = read_mapping(source);
    if (!mapping.ok()) return std::move(mapping).error();
    options.static_mapping = std::move(*mapping);
    options.lookup = [](const std::string&) { return std::vector<std::string>{}; };
  }
  return kms::Groups::create(std::move(options), logger);
}

}  // namespace

Result<Conf> conf_of(const Invocation& call) {
  Conf conf;
  const char* environment = std::getenv("HADOOP_CONF_DIR");
  conf.input.conf_dir =
      call.get("conf", environment != nullptr && *environment != '\0' ? environment : kDefaultConf);
  const std::string name = call.get("run-as");
  const passwd* account = name.empty() ? getpwuid(geteuid()) : getpwnam(name.c_str());
  if (account == nullptr && !name.empty()) return wrong("--run-as: no such user: " + shown(name));
  if (account != nullptr) {
    conf.serving_user = account->pw_name;
    conf.input.system_properties = {{"user.name", account->pw_name},
                                    {"user.home", account->pw_dir}};
    if (!name.empty()) {
      conf.uid = account->pw_uid;
      conf.gid = account->pw_gid;
    }
  }
  for (const std::string& each : call.all("set")) {
    const std::size_t equal = each.find('=');
    if (equal == std::string::npos || equal == 0) return wrong("--set wants NAME=VALUE: " + each);
    conf.input.overrides.push_back({each.substr(0, equal), each.substr(equal + 1), {"--set", 0}});
  }
  return conf;
}

Result<Policy> policy_of(Invocation& call, const Conf& conf, kms::Logger& logger) {
  kms::hadoop::SettingsErrors errors;
  kms::hadoop::Settings settings = kms::hadoop::load_settings(conf.input, errors);
  if (!errors.lines.empty()) {
    call.out.warning("key authorization, names and groups are taken as by default: " +
                     errors.lines.front());
    settings = {};
    settings.group_static_mapping = kms::Groups::Options().static_mapping;
  }
  Policy policy;
  policy.names = settings.name_rules;
  policy.key_authorization = settings.key_authorization;
  auto groups = groups_of(call, settings, policy.groups_source, logger);
  if (!groups.ok()) return std::move(groups).error();
  policy.groups = std::move(*groups);
  return policy;
}

std::string acl_path(const Invocation& call, const Conf& conf) {
  return call.get("acls", conf.input.conf_dir + "/kms-acls.xml");
}

}  // namespace kmsctl
