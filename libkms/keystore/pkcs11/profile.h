// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace kms::pkcs11 {

// What is known of a vendor's library, from its documentation.
struct Profile {
  struct Variable {
    const char *name, *value;
  };
  std::string_view name;
  std::string_view library;               // where its client puts the module; empty: none usual
  std::span<const Variable> environment;  // set before it is loaded, where it is not set already
};

// hsm://PROFILE@/PATH taken apart. Errors: configuration.
struct StoreUri {
  const Profile* profile;
  std::string path;
};
Result<StoreUri> parse_store_uri(std::string_view uri);

}  // namespace kms::pkcs11
