// SPDX-License-Identifier: Apache-2.0
#include "acl/access_list.h"

#include "auth/text.h"

namespace kms {

AccessList::AccessList(std::string_view text) {
  // Only the blank separates; a tab or a newline belongs to the users part.
  const std::size_t blank = text.find(' ');
  const std::string_view users = text.substr(0, blank);
  const std::string_view groups =
      blank == std::string_view::npos ? std::string_view() : text.substr(blank + 1);
  everyone_ = java_trim(users) == "*" || java_trim(groups) == "*";
  if (everyone_) return;
  for (std::string& user : split_list(users)) {
    if (user.size() > 1 && user.front() == '~') real_users_.insert(user.substr(1));
    users_.insert(std::move(user));
  }
  for (std::string& group : split_list(groups)) groups_.insert(std::move(group));
}

Match AccessList::match_names(const Caller& caller) const {
  if (everyone_) return Match::everyone;
  if (users_.find(caller.user) != users_.end()) return Match::user;
  if (!caller.real_user.empty() && real_users_.find(caller.real_user) != real_users_.end())
    return Match::real_user;
  return Match::none;
}

bool AccessList::lists_group_of(const std::vector<std::string>& groups) const {
  for (const std::string& group : groups)
    if (groups_.count(group) != 0) return true;
  return false;
}

Match AccessList::match(const Caller& caller, Groups& groups) const {
  const Match by_name = match_names(caller);
  if (by_name != Match::none || groups_.empty()) return by_name;
  return lists_group_of(*groups.of(caller.user)) ? Match::group : Match::none;
}

Match AccessList::match_blacklist(const Caller& caller, Groups& groups) const {
  const Match by_name = match_names(caller);
  if (by_name != Match::none || groups_.empty()) return by_name;
  const auto known = groups.find(caller.user);
  if (!known.ok()) return Match::groups_unknown;
  return lists_group_of(**known) ? Match::group : Match::none;
}

}  // namespace kms
