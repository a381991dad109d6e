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
  std::string hosts_where;  // "FILE:LINE: property NAME: ", for messages; may be empty
};

// Who may act for whom, from where (kms-auth.md section 5). Immutable after build; thread-safe.
class ProxyUsers {
 public:
  // Host names are resolved here, once, to their IPv4 addresses, as Java prefers them, or where
  // there are none to their IPv6 ones; those that do not resolve are dropped with a line in
  // warnings. A bad CIDR is an error (ErrorKind::configuration). IPv6 CIDRs are taken, which Java
  // does not.
  static Result<ProxyUsers> build(const std::vector<ProxyUserRule>& rules,
                                  std::vector<std::string>& warnings);

  // real_name is used in messages (the full principal), real_short decides; do_as is a short name.
  // remote_ip is the peer's address in text form; an IPv4 one may be mapped into IPv6. Errors:
  // ErrorKind::not_authorized with Hadoop's words.
  Result<void> authorize(std::string_view real_name, std::string_view real_short,
                         std::string_view do_as, std::string_view remote_ip, Groups& groups) const;

 private:
  struct Network {
    std::vector<unsigned char> address;  // 4 or 16 bytes
    int prefix_bits = 0;
    bool contains(const std::vector<unsigned char>& other) const;
  };
  struct Entry {
    std::string real_user;
    bool any_user = false, any_host = false;
    std::vector<std::string> users, groups;
    std::vector<Network> networks;
    bool may_act_for(std::string_view do_as, Groups& all_groups) const;
    bool may_come_from(const std::vector<unsigned char>& address) const;
  };
  static Result<Network> parse_cidr(std::string_view text);
  static Result<void> add_host(Entry& entry, const std::string& host, const std::string& where,
                               std::vector<std::string>& warnings);
  std::vector<Entry> entries_;
};

}  // namespace kms
