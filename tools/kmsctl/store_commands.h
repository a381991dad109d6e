// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"
#include "keystore_access.h"

namespace kmsctl {

// The store in a database that an argument names, or the configuration.
Result<KeystoreAccess> store_access(const Invocation& call, std::size_t argument);

int run_store_backup(Invocation& call);
int run_store_init(Invocation& call);
int run_store_restore(Invocation& call);
int run_store_status(Invocation& call);
int run_store_upgrade(Invocation& call);

}  // namespace kmsctl
