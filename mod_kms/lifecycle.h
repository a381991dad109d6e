// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mod_kms.h"

namespace kms {

// When the configuration has been read and no directive carried out yet.
int pre_config(apr_pool_t* pconf, apr_pool_t* plog, apr_pool_t* ptemp);
// configtest and start: everything that can be wrong is said here, and nothing is changed on disk.
int check_config(apr_pool_t* pconf, apr_pool_t* plog, apr_pool_t* ptemp, server_rec* main_server);
// Start and graceful restart, as root where httpd was started by root: opens keystores and audit
// logs.
int post_config(apr_pool_t* pconf, apr_pool_t* plog, apr_pool_t* ptemp, server_rec* main_server);
// In each child: own file descriptors, locked heap, the maintenance thread.
void child_init(apr_pool_t* pchild, server_rec* main_server);

}  // namespace kms
