// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/secret.h"
#include "mod_kms.h"

namespace kms {

// What must outlive a graceful restart, while this module's code may be unloaded and loaded again:
// plain locked memory that the process pool knows by name, without any C++ object in it.

// Zero-filled shared memory (MAP_SHARED) of at least bytes; the same pages on every call with this
// name in this process and its children. Null when it cannot be mapped.
void* shared_region(server_rec* server, const std::string& name, std::size_t bytes);

// HADOOP_KEYSTORE_PASSWORD as it was when the process started: read once, then taken out of the
// environment so that no CGI or piped logger inherits it. False when it was not set.
bool environment_password(server_rec* server, Secret& password);

}  // namespace kms
