// SPDX-License-Identifier: Apache-2.0
#include "metering.h"

#include <apr_strings.h>

#include "guard.h"
#include "kms_config.h"
#include "request_state.h"
#include "rest/dispatch.h"

namespace kms {
namespace {

MetricOp metric_of(rest::TokenOp op) {
  switch (op) {
    case rest::TokenOp::get:
      return MetricOp::get_delegation_token;
    case rest::TokenOp::renew:
      return MetricOp::renew_delegation_token;
    case rest::TokenOp::cancel:
      return MetricOp::cancel_delegation_token;
  }
  return MetricOp::other;
}

// The texts are literals and so end in a NUL.
void note(request_rec* r, const char* name, std::string_view literal) {
  apr_table_setn(r->notes, name, literal.data());
}

void count_authentication(Instance& instance, const request_rec* r, const request_rec* last) {
  Metrics& metrics = instance.metrics();
  const RequestState* state = request_state(last);
  if (state != nullptr && state->authenticated)
    metrics.count_authentication(state->authenticated_by);
  else if (last->status == HTTP_UNAUTHORIZED)
    metrics.count_authentication(AuthOutcome::unauthenticated);
  else if (last->status >= 400 && state != nullptr && state->open_page == nullptr &&
           state->token_operation == nullptr)
    metrics.count_authentication(AuthOutcome::refused);
  else
    return;
  if (state == nullptr || !state->authenticated)
    apr_table_setn(r->subprocess_env, "kms-denied", "authentication");
}

}  // namespace

void count_outcome(request_rec* r, Instance& instance, const rest::Outcome& outcome) {
  instance.metrics().count_request(outcome.op, outcome.result, apr_time_now() - r->request_time);
  note(r, "kms-op", kMetricOpNames[cells::at(outcome.op)]);
  note(r, "kms-result", kMetricResultNames[cells::at(outcome.result)]);
  if (!outcome.key.empty())
    apr_table_setn(r->notes, "kms-key",
                   apr_pstrmemdup(r->pool, outcome.key.data(), outcome.key.size()));
  if (r->user != nullptr) apr_table_setn(r->notes, "kms-user", r->user);
  apr_table_setn(r->notes, "kms-backend-us",
                 apr_psprintf(r->pool, "%" APR_INT64_T_FMT, apr_int64_t{outcome.backend_us}));
  if (outcome.result == MetricResult::denied_op)
    apr_table_setn(r->subprocess_env, "kms-denied", "op");
  if (outcome.result == MetricResult::denied_key)
    apr_table_setn(r->subprocess_env, "kms-denied", "key");
}

void count_token_operation(request_rec* r, Instance& instance,
                           const rest::TokenOperation& operation, const rest::Answer& answer) {
  rest::Outcome outcome;
  outcome.op = metric_of(operation.op);
  outcome.result = rest::result_of(answer);
  count_outcome(r, instance, outcome);
}

int count_transaction(request_rec* r) {
  const request_rec* last = r;
  while (last->next != nullptr) last = last->next;
  if (!engine_on(last)) return DECLINED;
  return guarded(r, [r, last] {
    Instance* instance = instance_of(last);
    if (instance == nullptr) return DECLINED;
    const RequestState* state = request_state(last);
    const bool unset = state != nullptr && state->java_sets_no_status;
    instance->metrics().count_response(last->status, unset,
                                       static_cast<std::uint64_t>(last->bytes_sent),
                                       apr_time_now() - r->request_time);
    count_authentication(*instance, r, last);
    return DECLINED;
  });
}

}  // namespace kms
