// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rest/exchange.h"
#include "rest/routes.h"

// Rate limits and the decrypt alarm in the loop of dispatch.h. Nothing here does anything when
// neither is configured.
namespace kms::rest {

// Before the op ACL, so that refused requests count as well: they cost their user's bucket only.
// Error rate_limited, after its audit line.
Result<void> limit_user(const Operation& op, const Exchange& x, Limits::Charges& charges);
// After all ACLs: nobody uses up the bucket of a key that he may not use. What the user's buckets
// gave goes back when the key's refuses.
Result<void> limit_key(const Operation& op, const Exchange& x, Limits::Charges& charges);
// After an operation that succeeded.
void watch_decrypts(const Operation& op, const Exchange& x);

}  // namespace kms::rest
