// SPDX-License-Identifier: Apache-2.0
#include "auth/principal.h"

#include "auth/text.h"

namespace kms {
namespace {

// Longer than any name that a KDC gives out; bounds what a message repeats.
constexpr std::size_t kEchoedBytes = 256;

// Takes a component, one or more bytes other than '/' and '@', off the front of rest.
bool take_component(std::string_view& rest) {
  const std::size_t end = rest.find_first_of("/@");
  if (end == 0 || rest.empty()) return false;
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end);
  return true;
}

// Whether rest is the separator and one component after it; takes it off then.
bool take_part(std::string_view& rest, char separator) {
  if (rest.empty() || rest.front() != separator) return true;
  rest.remove_prefix(1);
  return take_component(rest);
}

}  // namespace

Result<std::string> short_name_simple(std::string_view principal) {
  std::string_view rest = principal;
  const bool well_formed = take_component(rest) && take_part(rest, '/') && take_part(rest, '@');
  if (well_formed && rest.empty())
    return std::string(principal.substr(0, principal.find_first_of("/@")));
  // Hadoop takes any other text without a realm as a plain name; an empty one it refuses later.
  if (principal.empty() || principal.find('@') != std::string_view::npos) {
    return Error(ErrorKind::authentication,
                 "Malformed Kerberos name: " + printable(principal, kEchoedBytes));
  }
  return std::string(principal);
}

}  // namespace kms
