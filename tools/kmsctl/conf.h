// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "acl/acl_set.h"
#include "auth/groups.h"
#include "auth/name_rules.h"
#include "command.h"
#include "hadoop/settings.h"

namespace kmsctl {

// The Hadoop configuration that --conf, --set and --run-as speak of.
struct Conf {
  kms::hadoop::SettingsInput input;
  std::string serving_user;
  uid_t uid = static_cast<uid_t>(-1);  // of serving_user, where --run-as names it
  gid_t gid = static_cast<gid_t>(-1);
};
Result<Conf> conf_of(const Invocation& call);

// What ACL commands go by beside the ACLs themselves. Without a usable kms-site.xml these are the
// defaults, and a warning says so.
struct Policy {
  std::unique_ptr<kms::Groups> groups;
  std::string groups_source;  // "--groups", "the system"
  kms::NameRules names;
  bool key_authorization = true;
};
// groups are asked for as --groups, --groups-file or the settings say.
Result<Policy> policy_of(Invocation& call, const Conf& conf, kms::Logger& logger);

// --acls, or kms-acls.xml of the configuration.
std::string acl_path(const Invocation& call, const Conf& conf);

}  // namespace kmsctl
