// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
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

// thales, luna, generic; null: there is no such profile. It lives as long as the program.
const Profile* find_profile(std::string_view name);

}  // namespace kms::pkcs11
