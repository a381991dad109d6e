// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "mod_kms.h"

namespace kms {

// Starts the program of a piped audit log: "/path args", "|/path args" (the same) or "$command" for
// a shell. Gives the write end of its pipe, which lives as long as the pool, or -1 after a line in
// the error log.
//
// httpd's own piped logs are not used: they keep a read end open in every process, so that writing
// goes on into a pipe that nobody reads, and a restart kills the program although children of the
// old generation still write to it. Here only the program holds the read end. When it ends, writing
// fails at once, until a new one is started on the same pipe, which still has what was not read;
// and it ends by itself, having read everything, when the last child of its generation is gone.
int start_audit_program(apr_pool_t* pconf, server_rec* server, const std::string& command);

// From the parent's loop: starts programs anew that ended soon after their start.
int monitor_audit_programs(apr_pool_t* pool, server_rec* server);

}  // namespace kms
