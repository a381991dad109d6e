// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "auth/cookie.h"
#include "instance.h"
#include "mod_kms.h"

// The hadoop.auth cookie on requests and answers, and the refusals of authentication.
namespace kms {

enum class CookieState { valid, absent, bad };

// A valid cookie settles the user, token then has it. A bad one is as good as none, but its defect
// is the reason of a 401.
CookieState try_cookie(request_rec* r, Instance& instance, AuthToken& token, std::string& reason);

// Sets a new cookie for who has just authenticated.
Result<void> issue_cookie(request_rec* r, Instance& instance, std::string_view short_name,
                          std::string_view full_name);
void clear_cookie(request_rec* r, Instance& instance);

// The line of a 401; without it nothing may be answered but the error.
Result<void> record_unauthenticated(request_rec* r, Instance& instance, std::string_view reason);

// The line of a refusal that the Java KMS does not record: a token that is none, a doAs that is not
// allowed, a user without a short name. In the JSON format only.
Result<void> record_refusal(request_rec* r, std::string_view reason);

// 401 with the header that says how to authenticate, the clearing cookie and the audit line. Sends
// it; returns DONE.
int refuse(request_rec* r, Instance& instance, const std::string& reason);
// The refusal of GET- and RENEWDELEGATIONTOKEN without credentials. Sends it; returns DONE.
int refuse_token_operation(request_rec* r, Instance& instance);
// A RemoteException, recorded as above. Sends it; returns DONE.
int refuse_json(request_rec* r, const Error& error);

}  // namespace kms
