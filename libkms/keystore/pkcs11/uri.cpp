// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/uri.h"

#include "keystore/pkcs11/pkcs11_store.h"

namespace kms::pkcs11 {

Result<StoreUri> parse_store_uri(std::string_view uri) {
  const auto wrong = [&](std::string_view why) {
    return Error(ErrorKind::configuration,
                 "key provider '" + std::string(uri) + "': " + std::string(why) +
                     "; the form is hsm://PROFILE@/PATH, or hsm://PROFILE with "
                     "hadoop.kms.hsm.metadata.uri, with the profile thales, luna or generic");
  };
  constexpr std::string_view kScheme = "hsm://";
  if (!uri.starts_with(kScheme)) return wrong("another scheme");
  const std::string_view rest = uri.substr(kScheme.size());
  const auto at = rest.find('@');
  const std::string_view name = rest.substr(0, at);
  const Profile* profile = find_profile(name);
  if (profile == nullptr) return wrong("no profile '" + std::string(name) + "'");
  if (at == std::string_view::npos) return StoreUri{profile, {}};
  const std::string_view path = rest.substr(at + 1);
  if (!path.starts_with('/') || path.ends_with('/'))
    return wrong("no absolute path of a file for the metadata");
  return StoreUri{profile, std::string(path)};
}

Result<std::string> path_of_uri(std::string_view uri) {
  auto parsed = parse_store_uri(uri);
  if (!parsed.ok()) return std::move(parsed).error();
  return std::move(parsed->path);
}

}  // namespace kms::pkcs11
