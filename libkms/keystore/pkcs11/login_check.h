// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.h"
#include "core/secret.h"
#include "keystore/pkcs11/address.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/pkcs11/profile.h"

namespace kms::pkcs11 {

// hadoop.kms.hsm.pin-file, or hsm-pin of systemd's credentials. Refuses a file that others may read
// or change. Errors: configuration.
Result<Secret> read_pin(const HsmOptions& options);

// Library and address as the options and the profile say. Errors: configuration.
Result<std::string> library_path(const HsmOptions& options, const Profile& profile);
Result<TokenAddress> token_address(const HsmOptions& options);

void set_environment(const Profile& profile);

// Logs in, makes a key that does not stay and encrypts with it, in a process of its own that
// becomes the serving user: the caller stays without library and threads. Waits at most three
// times the timeout. Errors: configuration.
Result<void> try_login(const StoreOptions& options, const Profile& profile,
                       const TokenAddress& address, const std::string& library, const Secret& pin);

}  // namespace kms::pkcs11
