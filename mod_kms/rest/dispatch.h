// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rest/exchange.h"

namespace kms::rest {

// The one loop of design.md: match, body, parse, op ACL, key ACL, work, audit, answer.
// Authentication is done before. Always gives an answer that may be sent: when the audit record
// cannot be written it is a 503 and carries no key.
Answer dispatch(Service& service, const Request& request, const Identity& identity);

// The answer for an error: status and RemoteException body.
Answer error_answer(const Error& error);
// What an answer counts as where no ACL denied it.
MetricResult result_of(const Answer& answer);

}  // namespace kms::rest
