// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/log.h"
#include "core/result.h"

namespace kms {

using GroupList = std::shared_ptr<const std::vector<std::string>>;

// Groups of a user by short name: hadoop.user.group.static.mapping.overrides first, then the system
// (getpwnam_r, getgrouplist: files, SSSD, LDAP by NSS). Answers are kept for cache_s, an unknown
// user for negative_cache_s. Thread-safe. One thread at a time asks the system for one user;
// meanwhile others get the old answer where there is one.
class Groups {
 public:
  struct Options {
    std::string static_mapping;  // "u1=g1,g2;u2="
    std::int64_t cache_s = 300;
    std::int64_t negative_cache_s = 30;
    // For tests; the system's look-up when empty. An error means "cannot tell", which must deny.
    std::function<Result<std::vector<std::string>>(const std::string& user)> lookup;
  };
  // Errors (ErrorKind::configuration): a mapping that does not parse.
  static Result<std::unique_ptr<Groups>> create(Options options, Logger& logger);

  // An unknown user has no groups. When the system cannot tell, that is logged and the answer is no
  // groups (a deny for every group rule, CVE-2018-11767), not cached beyond the negative time.
  GroupList of(std::string_view user);

 private:
  struct Cached {
    GroupList groups;
    std::int64_t expires_ms = 0;
    bool refreshing = false;
  };
  Groups(Options options, Logger& logger) : options_(std::move(options)), logger_(logger) {}
  Options options_;
  Logger& logger_;
  std::map<std::string, GroupList, std::less<>> static_;
  std::mutex mutex_;
  std::unordered_map<std::string, Cached> cache_;
};

}  // namespace kms
