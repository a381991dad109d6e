// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
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
// meanwhile others get the old answer where there is one, and wait where there is none.
class Groups {
 public:
  struct Options {
    std::string static_mapping = "dr.who=;";  // "u1=g1,g2;u2="
    std::int64_t cache_s = 300;
    std::int64_t negative_cache_s = 30;
    // For tests; the system's look-up when empty. An error means "cannot tell", which must deny.
    std::function<Result<std::vector<std::string>>(const std::string& user)> lookup;
  };
  // Errors (ErrorKind::configuration): a mapping that does not parse.
  static Result<std::unique_ptr<Groups>> create(Options options, Logger& logger);

  // An unknown user has no groups. When the system cannot tell, that is logged and the answer is no
  // groups (a deny for every rule that grants to a group, CVE-2018-11767), not cached beyond the
  // negative time. Never null.
  GroupList of(std::string_view user);

  // The same, but an error (unavailable) when the system cannot tell. For rules that take away, a
  // blacklist: "no groups" would let in whom the rule shuts out.
  Result<GroupList> find(std::string_view user);

 private:
  struct Cached {
    GroupList groups;  // null: never answered yet
    bool certain = true;
    std::int64_t expires_ms = 0;
    bool refreshing = false;
  };
  struct Answer {
    GroupList groups;
    bool certain;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };
  class Refresh;

  Groups(Options options, Logger& logger) : options_(std::move(options)), logger_(logger) {}
  Answer answer(std::string_view user);
  Answer ask(const std::string& user, std::unique_lock<std::mutex>& lock);
  void make_room(std::int64_t now);

  Options options_;
  Logger& logger_;
  std::map<std::string, GroupList, std::less<>> static_;
  std::mutex mutex_;
  std::condition_variable refreshed_;
  std::unordered_map<std::string, Cached, Hash, std::equal_to<>> cache_;
};

}  // namespace kms
