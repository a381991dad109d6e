// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "auth/groups.h"

namespace kms {

// Who asks, as far as an ACL sees it. Views must outlive the call.
struct Caller {
  std::string_view user;  // short name of the effective user (the doAs user where there is one)
  std::string_view real_user;  // short name of the user who acts for him; empty without doAs
};

// Why a list holds a caller.
enum class Match { none, everyone, user, real_user, group, groups_unknown };

// Hadoop's AccessControlList: "users groups", split at the first blank, with all its traps
// (kms-auth.md 6.2). Immutable.
class AccessList {
 public:
  AccessList() = default;  // nobody
  explicit AccessList(std::string_view text);

  bool operator==(const AccessList&) const = default;

  bool everyone() const { return everyone_; }
  // Groups are asked for only when the users part does not decide. Groups that cannot be told admit
  // nobody.
  Match match(const Caller& caller, Groups& groups) const;
  bool admits(const Caller& caller, Groups& groups) const {
    return match(caller, groups) != Match::none;
  }
  // The same matching for a blacklist: groups that cannot be told shut out.
  Match match_blacklist(const Caller& caller, Groups& groups) const;
  bool shuts_out(const Caller& caller, Groups& groups) const {
    return match_blacklist(caller, groups) != Match::none;
  }
  const std::set<std::string, std::less<>>& users() const { return users_; }
  const std::set<std::string, std::less<>>& groups() const { return groups_; }

 private:
  Match match_names(const Caller& caller) const;
  bool lists_group_of(const std::vector<std::string>& groups) const;

  bool everyone_ = false;
  std::set<std::string, std::less<>> users_;
  std::set<std::string, std::less<>> real_users_;  // of the "~name" entries of users_
  std::set<std::string, std::less<>> groups_;
};

}  // namespace kms
