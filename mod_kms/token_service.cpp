// SPDX-License-Identifier: Apache-2.0
#include "token_service.h"

#include "credentials.h"
#include "metering.h"
#include "request_id.h"
#include "response.h"
#include "rest/token_audit.h"

namespace kms {
namespace {

int run(request_rec* r, Instance& instance, const RequestState& state,
        const rest::TokenCaller* caller, const rest::Identity* who) {
  rest::Request request;
  request.method = r->method;
  request.raw_query = raw_query(r);
  request.remote_ip = r->useragent_ip;
  request.id = request_id(r);
  request.received_us = r->request_time;
  rest::Answer answer = rest::run_audited_token_operation(
      instance.tokens(), instance.audit(), *state.token_operation, request, caller, who);
  count_token_operation(r, instance, *state.token_operation, answer);
  if (caller != nullptr && answer.clears_cookie) clear_cookie(r, instance);
  log_failure(r, answer);
  return send_answer(r, std::move(answer));
}

}  // namespace

int serve_token_operation(request_rec* r, Instance& instance, const RequestState& state) {
  const rest::Identity& who = state.identity;
  const bool proxied = !who.real_full.empty();
  const rest::TokenCaller caller = {state.account, proxied ? who.full : std::string(),
                                    proxied ? who.short_name : std::string()};
  return run(r, instance, state, &caller, &who);
}

int cancel_as_holder(request_rec* r, Instance& instance, const RequestState& state) {
  run(r, instance, state, nullptr, nullptr);
  return DONE;
}

}  // namespace kms
