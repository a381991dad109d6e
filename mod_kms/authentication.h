// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mod_kms.h"

namespace kms {

// check_authn, first: settles who asks by cookie, delegation token or user.name, then doAs. OK:
// request_state() has the identity and r->user the full name. DONE: an answer has been sent.
// DECLINED: a Kerberos ticket is for mod_auth_gssapi to check.
int check_authn(request_rec* r);
// auth_checker, first: takes over whom mod_auth_gssapi has authenticated. DECLINED lets
// authorization go on.
int after_authn(request_rec* r);
// For an answer of httpd's own, such as the 401 of mod_auth_gssapi: what a refusal must carry.
void complete_refusal(request_rec* r);
// check_authn's work, also for requests that httpd did not authenticate because no Require asked
// for it. early: the handler has not been called yet.
int authenticate(request_rec* r, bool early);

}  // namespace kms
