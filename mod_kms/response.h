// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "mod_kms.h"
#include "rest/exchange.h"

namespace kms {

// Sends an answer of the REST API with the headers every answer has. Returns what a handler
// returns.
int send_answer(request_rec* r, rest::Answer&& answer);

// Says in the error log what a failure of the server's own was; at debug level what the client's
// was.
void log_failure(request_rec* r, const rest::Answer& answer);

// Sends an HTML page as the Java server's container does, with this reason phrase. No body for
// OPTIONS.
int send_html_error(request_rec* r, int status, std::string_view reason);

// A text without control characters: for reason phrases and headers.
std::string one_line(std::string_view text);

}  // namespace kms
