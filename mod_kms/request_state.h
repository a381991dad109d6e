// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mod_kms.h"
#include "rest/exchange.h"
#include "rest/token_operations.h"

namespace kms {

class Instance;
struct Page;

// What is known of a request between the authentication hook and the handler.
struct RequestState {
  bool java_sets_no_status = false;  // Java's meter of invalid calls counts such an answer
  bool authenticated = false;        // identity is settled
  bool early = false;                // httpd has put no filters before the answer yet
  AuthOutcome authenticated_by = AuthOutcome::pseudo;
  rest::Identity identity;
  std::string account;  // short name of who authenticated, without doAs
  const rest::TokenOperation* token_operation = nullptr;  // what "op" asks for
  bool for_gssapi = false;                                // mod_auth_gssapi was to check a ticket
  bool refusal_completed = false;                         // of a ticket
  const Page* open_page = nullptr;  // served to nobody in particular: this page and nothing else
};

// Null until authentication has begun.
RequestState* request_state(const request_rec* r);
RequestState& make_request_state(request_rec* r);

// The KMS that serves the request, null where none is configured.
Instance* instance_of(const request_rec* r);

// "http://host:port" as the client wrote it.
std::string base_url(request_rec* r);
std::optional<std::string_view> header(const request_rec* r, const char* name);
// Path of the request line, undecoded.
std::string_view raw_path(const request_rec* r);
std::string_view raw_query(const request_rec* r);

}  // namespace kms
