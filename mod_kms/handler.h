// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mod_kms.h"

namespace kms {

// The content handler of locations with KMSEngine On: request_rec in, rest::dispatch, answer out.
int handle_request(request_rec* r);
// Keeps httpd from mapping such URLs to files, and from answering TRACE by itself.
int translate_name(request_rec* r);
int map_to_storage(request_rec* r);

}  // namespace kms
