// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "auth/groups.h"
#include "core/result.h"

namespace kms {

// hadoop.kms.proxyuser.NAME.users|groups|hosts, values as configured. An absent value is not an
// empty one.
struct ProxyUserRule {
  std::string real_user;  // short name
  bool has_users = false, has_groups = false, has_hosts = false;
  std::string users, groups, hosts;
};

// Who may act for whom, from where (kms-auth.md section 5). Immutable after build; thread-safe.
class ProxyUsers {
 public:
  // Host names are resolved here, once; those that do not resolve are dropped with a line in
  // warnings. A bad CIDR is an error (ErrorKind::configuration).
  static Result<ProxyUsers> build(const std::vector<ProxyUserRule>& rules,
                                  std::vector<std::string>& warnings);

  // real_name is used in messages (the full principal), real_short decides. remote_ip is the peer's
  // address in text form. Errors: ErrorKind::not_authorized with Hadoop's words.
  Result<void> authorize(std::string_view real_name, std::string_view real_short,
                         std::string_view do_as, std::string_view remote_ip, Groups& groups) const;

 private:
  struct Network {
    std::vector<unsigned char> address;  // 4 or 16 bytes
    int prefix_bits = 0;
  };
  struct Entry {
    std::string real_user;
    bool listed = false;  // .users or .groups is set
    bool any_user = false, any_host = false;
    std::vector<std::string> users, groups;
    std::vector<Network> networks;
  };
  std::vector<Entry> entries_;
};

}  // namespace kms
