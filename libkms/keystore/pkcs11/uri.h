// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "pkcs11/profile.h"

namespace kms::pkcs11 {

// hsm://PROFILE@/PATH, or hsm://PROFILE, taken apart. Errors: configuration.
struct StoreUri {
  const Profile* profile;
  std::string path;  // empty: there is none
};
Result<StoreUri> parse_store_uri(std::string_view uri);

}  // namespace kms::pkcs11
