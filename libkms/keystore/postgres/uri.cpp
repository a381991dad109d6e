// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string_view>

#include "keystore/postgres/options.h"

namespace kms::postgres {
namespace {

constexpr std::string_view kScheme = "trustee://";
constexpr std::string_view kForm = "trustee://USER@HOST:PORT,HOST:PORT/DATABASE";

Error bad(const std::string& why) {
  return Error(ErrorKind::configuration,
               "key provider URI: " + why + "; its form is " + std::string(kForm));
}

bool is_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

bool is_address(std::string_view text) {
  return text.find(':') != std::string_view::npos &&
         text.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         text.find_first_not_of("0123456789") == std::string_view::npos && text.front() != '0' &&
         std::stoi(std::string(text)) <= 65535;
}

Result<Host> parse_host(std::string_view text) {
  Host host{std::string(text), "5432"};
  const std::string_view all = text;
  bool address = false;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad("'" + std::string(all) + "' has no ']'");
    host.name = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    address = true;
  } else {
    const auto colon = std::min(text.find(':'), text.size());
    host.name = text.substr(0, colon);
    text.remove_prefix(colon);
  }
  if (!text.empty()) {
    if (text.front() != ':' || !is_port(text.substr(1)))
      return bad("'" + std::string(all) + "' has no usable port");
    host.port = text.substr(1);
  }
  if (address ? !is_address(host.name) : !is_name(host.name))
    return bad("'" + std::string(all) + "' is no host");
  return host;
}

}  // namespace

Result<StoreUri> parse_uri(const std::string& uri) {
  StoreUri out;
  std::string_view rest = uri;
  if (!rest.starts_with(kScheme)) return bad("it does not begin with " + std::string(kScheme));
  rest.remove_prefix(kScheme.size());
  // The last one, so that a password with an '@' does not get into a message as a host.
  const auto at = rest.rfind('@');
  if (at == std::string_view::npos) return bad("it names no user");
  if (rest.substr(0, at).find(':') != std::string_view::npos)
    return bad("it has a password, which belongs into hadoop.kms.trustee.password-file");
  out.user = rest.substr(0, at);
  if (!is_name(out.user)) return bad("its user has other characters than letters, digits, _ - .");
  rest.remove_prefix(at + 1);
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 == rest.size())
    return bad("it names no database");
  out.database = rest.substr(slash + 1);
  if (!is_name(out.database))
    return bad("its database has other characters than letters, digits, _ - .");
  std::string_view hosts = rest.substr(0, slash);
  for (;;) {
    const auto comma = hosts.find(',');
    auto host = parse_host(hosts.substr(0, comma));
    if (!host.ok()) return std::move(host).error();
    out.hosts.push_back(std::move(*host));
    if (comma == std::string_view::npos) return out;
    hosts.remove_prefix(comma + 1);
  }
}

}  // namespace kms::postgres
