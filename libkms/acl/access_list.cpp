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

bool AccessList::names_user(const Caller& caller) const {
  return users_.find(caller.user) != users_.end() ||
         (!caller.real_user.empty() && real_users_.find(caller.real_user) != real_users_.end());
}

bool AccessList::lists_group_of(const std::vector<std::string>& groups) const {
  for (const std::string& group : groups)
    if (groups_.count(group) != 0) return true;
  return false;
}

bool AccessList::admits(const Caller& caller, Groups& groups) const {
  if (everyone_ || names_user(caller)) return true;
  return !groups_.empty() && lists_group_of(*groups.of(caller.user));
}

bool AccessList::shuts_out(const Caller& caller, Groups& groups) const {
  if (everyone_ || names_user(caller)) return true;
  if (groups_.empty()) return false;
  const auto known = groups.find(caller.user);
  return !known.ok() || lists_group_of(**known);
}

}  // namespace kms
