// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"
#include "keystore/pkcs11/pkcs11_store.h"

namespace kmsctl {

// The store hsm:// of the configuration.
Result<kms::pkcs11::StoreOptions> hsm_options(const Invocation& call);

// Says which versions are still in the previous keystore, when they were last used, and what to do
// next. An exit status.
int tell_outside(Invocation& call, const kms::pkcs11::StoreOptions& options);

}  // namespace kmsctl
