// SPDX-License-Identifier: Apache-2.0
#include "auth/proxy_users.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

#include "auth/text.h"

namespace kms {
namespace {

using Address = std::vector<unsigned char>;

constexpr unsigned char kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// ::ffff:a.b.c.d is a.b.c.d: a dual-stack socket shows IPv4 peers so.
Address unmapped(Address address) {
  if (address.size() == 16 &&
      std::equal(std::begin(kMappedPrefix), std::end(kMappedPrefix), address.begin()))
    address.erase(address.begin(), address.begin() + 12);
  return address;
}

// 4 or 16 bytes; none when text is no address. A zone ("%eth0") is left out of account.
Address parse_address(std::string_view text) {
  const std::string plain(text.substr(0, text.find('%')));
  Address address(4);
  if (inet_pton(AF_INET, plain.c_str(), address.data()) == 1) return address;
  address.resize(16);
  if (inet_pton(AF_INET6, plain.c_str(), address.data()) == 1) return unmapped(address);
  return {};
}

// As Java's InetAddress shows it: IPv6 in eight groups without "::".
std::string java_text(const Address& address, std::string_view as_given) {
  char text[64];
  if (address.size() == 4) {
    std::snprintf(text, sizeof text, "/%u.%u.%u.%u", address[0], address[1], address[2],
                  address[3]);
    return text;
  }
  if (address.size() != 16) return "/" + printable(as_given, 64);
  std::string out = "/";
  for (std::size_t i = 0; i < 16; i += 2) {
    std::snprintf(text, sizeof text, "%s%x", i == 0 ? "" : ":",
                  static_cast<unsigned>(address[i] << 8 | address[i + 1]));
    out += text;
  }
  return out;
}

// "010.0.0.1" or "10.1": C libraries read them as octal or shortened, Java otherwise. An address
// that can be read in two ways must not open a door.
bool looks_numeric(std::string_view host) {
  return host.find_first_not_of("0123456789.") == std::string_view::npos ||
         host.find(':') != std::string_view::npos;
}

struct AddrinfoFree {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

Address address_of(const sockaddr* socket_address) {
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(socket_address);
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(socket_address);
  const bool is_v4 = socket_address->sa_family == AF_INET;
  const void* bytes = is_v4 ? static_cast<const void*>(&v4->sin_addr) : &v6->sin6_addr;
  Address address(is_v4 ? 4 : 16);
  std::memcpy(address.data(), bytes, address.size());
  return is_v4 ? address : unmapped(std::move(address));
}

// The addresses of a host name; none with the reason in why.
std::vector<Address> resolve(const std::string& host, std::string& why) {
  if (looks_numeric(host)) {
    why = "not an address in its full form";
    return {};
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  for (const int family : {AF_INET, AF_INET6}) {
    hints.ai_family = family;
    addrinfo* raw = nullptr;
    if (const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &raw); rc != 0) {
      why = gai_strerror(rc);
      continue;
    }
    const std::unique_ptr<addrinfo, AddrinfoFree> list(raw);
    std::vector<Address> found;
    for (const addrinfo* a = list.get(); a != nullptr; a = a->ai_next)
      found.push_back(address_of(a->ai_addr));
    return found;
  }
  return {};
}

bool is_star(std::string_view value) {
  return java_trim(value) == "*";
}

bool holds(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

bool ProxyUsers::Network::contains(const Address& other) const {
  if (other.size() != address.size()) return false;
  const std::size_t whole = static_cast<std::size_t>(prefix_bits) / 8;
  if (!std::equal(address.begin(), address.begin() + static_cast<std::ptrdiff_t>(whole),
                  other.begin()))
    return false;
  const int rest = prefix_bits % 8;
  return rest == 0 || ((address[whole] ^ other[whole]) >> (8 - rest)) == 0;
}

Result<ProxyUsers::Network> ProxyUsers::parse_cidr(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string_view bits = text.substr(slash + 1);
  Network network;
  network.address = parse_address(text.substr(0, slash));
  const bool zoned = text.find('%') != std::string_view::npos;
  const auto parsed = std::from_chars(bits.data(), bits.data() + bits.size(), network.prefix_bits);
  if (network.address.empty() || zoned || bits.empty() || bits.front() == '-' ||
      parsed.ec != std::errc() || parsed.ptr != bits.data() + bits.size())
    return Error(ErrorKind::configuration, "Could not parse [" + printable(text, 100) + "]");
  // The prefix of a mapped address counts from the left of its IPv6 form.
  if (network.address.size() == 4 && text.find(':') != std::string_view::npos)
    network.prefix_bits -= 96;
  const int most = network.address.size() == 4 ? 32 : 128;
  if (network.prefix_bits < 0 || network.prefix_bits > most) {
    return Error(ErrorKind::configuration, "Value [" + printable(bits, 20) + "] not in range [0," +
                                               std::to_string(most) + "]");
  }
  return network;
}

Result<void> ProxyUsers::add_host(Entry& entry, const std::string& host, const std::string& where,
                                  std::vector<std::string>& warnings) {
  const std::string property =
      where.empty() ? "hadoop.kms.proxyuser." + entry.real_user + ".hosts: " : where;
  if (host.find('/') != std::string::npos) {
    auto network = parse_cidr(host);
    if (!network.ok()) return Error(ErrorKind::configuration, property + network.error().message);
    entry.networks.push_back(std::move(network).value());
    return {};
  }
  std::vector<Address> addresses;
  std::string why;
  if (Address literal = parse_address(host); !literal.empty()) {
    addresses.push_back(std::move(literal));
  } else {
    addresses = resolve(host, why);
  }
  if (addresses.empty()) {
    warnings.push_back(property + "'" + printable(host, 255) + "' is left out: " + why +
                       (host == "*" ? " ('*' means every host only when it stands alone)" : ""));
  }
  for (Address& address : addresses) {
    const int bits = static_cast<int>(address.size()) * 8;
    entry.networks.push_back({std::move(address), bits});
  }
  return {};
}

Result<ProxyUsers> ProxyUsers::build(const std::vector<ProxyUserRule>& rules,
                                     std::vector<std::string>& warnings) {
  ProxyUsers built;
  for (const ProxyUserRule& rule : rules) {
    if (rule.real_user == "*") {
      warnings.push_back(
          "hadoop.kms.proxyuser.*: user names know no wildcard, this rule does nothing");
      continue;
    }
    Entry entry;
    entry.real_user = rule.real_user;
    entry.any_user =
        (rule.has_users && is_star(rule.users)) || (rule.has_groups && is_star(rule.groups));
    if (rule.has_users) entry.users = split_list(rule.users);
    if (rule.has_groups) entry.groups = split_list(rule.groups);
    const auto hosts = rule.has_hosts ? split_list(rule.hosts) : std::vector<std::string>();
    entry.any_host = hosts.size() == 1 && hosts.front() == "*";
    if (!entry.any_host)
      for (const std::string& host : hosts)
        KMS_TRY(add_host(entry, host, rule.hosts_where, warnings));
    built.entries_.push_back(std::move(entry));
  }
  return built;
}

bool ProxyUsers::Entry::may_act_for(std::string_view do_as, Groups& all_groups) const {
  if (any_user || holds(users, do_as)) return true;
  if (groups.empty()) return false;
  const GroupList of_user = all_groups.of(do_as);
  return std::any_of(of_user->begin(), of_user->end(),
                     [this](const std::string& group) { return holds(groups, group); });
}

bool ProxyUsers::Entry::may_come_from(const Address& address) const {
  return any_host || std::any_of(networks.begin(), networks.end(),
                                 [&](const Network& network) { return network.contains(address); });
}

Result<void> ProxyUsers::authorize(std::string_view real_name, std::string_view real_short,
                                   std::string_view do_as, std::string_view remote_ip,
                                   Groups& groups) const {
  const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& candidate) {
    return candidate.real_user == real_short;
  });
  if (entry == entries_.end() || do_as.empty() || !entry->may_act_for(do_as, groups)) {
    return Error(
        ErrorKind::not_authorized,
        "User: " + std::string(real_name) + " is not allowed to impersonate " + std::string(do_as));
  }
  const Address address = parse_address(remote_ip);
  if (!entry->may_come_from(address)) {
    return Error(ErrorKind::not_authorized,
                 "Unauthorized connection for super-user: " + std::string(real_name) + " from IP " +
                     java_text(address, remote_ip));
  }
  return {};
}

}  // namespace kms
