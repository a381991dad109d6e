// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "core/secret.h"
#include "pkcs11/address.h"
#include "pkcs11/options.h"
#include "pkcs11/profile.h"
#include "pkcs11/token.h"

namespace kms::pkcs11 {

// What a login needs: the properties hadoop.kms.hsm.* checked, and the PIN out of its file.
struct TokenAccess {
  const Profile* profile;
  TokenAddress address;
  std::string library;
  Secret pin;  // of hadoop.kms.hsm.pin-file, or hsm-pin of systemd's credentials
  TokenOptions options;

  // Neither loads nor asks the library. Refuses a PIN file that others may read or change. Errors:
  // configuration.
  static Result<TokenAccess> read(const HsmOptions& options, const Profile& profile);

  // The variables of the profile. Before the process has threads.
  void set_environment() const;
};

}  // namespace kms::pkcs11
