// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rest/token_operations.h"

namespace kms::rest {

// Does the operation and records it before it takes effect: operation, user, real user and the
// token's identifier without its password; a refusal is recorded before it leaves. The Java KMS has
// no such lines, so there are none in the Java format. Where the record cannot be written nothing
// is changed and the answer is a 503. Should the token store fail after the record, an ERROR record
// follows.
// who: as the audit log names the caller; null where the holder of a token cancels it.
Answer run_audited_token_operation(TokenManager& tokens, AuditLog& audit,
                                   const TokenOperation& operation, const Request& request,
                                   const TokenCaller* caller, const Identity* who);

}  // namespace kms::rest
