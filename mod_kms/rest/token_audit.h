// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rest/token_operations.h"

namespace kms::rest {

// Does the operation and records it before the answer leaves: operation, user, real user and the
// token's identifier without its password, or why it was refused. The Java KMS has no such lines,
// so there are none in the Java format. Where the record cannot be written the answer is a 503
// without a token; a log that is known to fail stops the operation before anything is changed.
// who: as the audit log names the caller; null where the holder of a token cancels it.
Answer run_audited_token_operation(TokenManager& tokens, AuditLog& audit,
                                   const TokenOperation& operation, const Request& request,
                                   const TokenCaller* caller, const Identity* who);

}  // namespace kms::rest
