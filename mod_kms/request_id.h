// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mod_kms.h"

namespace kms {

// The name of this request in the audit log, in the answer's X-Request-Id and, for log formats, in
// the note "kms-request-id": what mod_unique_id says where it is loaded, else 128 random bits. A
// name that the client sends is not taken.
const char* request_id(request_rec* r);

}  // namespace kms
