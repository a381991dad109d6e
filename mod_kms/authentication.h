// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mod_kms.h"

namespace kms {

// check_authn, first: settles who asks by cookie or user.name, then doAs. OK: request_state() has
// the identity and r->user the full name. DONE: a refusal has been sent.
int check_authn(request_rec* r);
// The same for requests that httpd did not authenticate because no Require asked for it.
int authenticate(request_rec* r);

}  // namespace kms
