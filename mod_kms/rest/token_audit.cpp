// SPDX-License-Identifier: Apache-2.0
#include "rest/token_audit.h"

#include "rest/dispatch.h"

namespace kms::rest {
namespace {

AuditStatus status_of(const Answer& answer) {
  if (answer.status < 300) return AuditStatus::ok;
  return answer.failure == ErrorKind::authentication ? AuditStatus::unauthorized
                                                     : AuditStatus::error;
}

std::string detail_of(const Answer& answer, const TokenTrace& trace) {
  if (!answer.failure_text.empty()) return answer.failure_text;
  if (!answer.html_reason.empty()) return answer.html_reason;
  std::string text = trace.token.has_value() ? trace.token->text() : std::string();
  if (trace.renewed_until_ms != 0) text += ", renewDate=" + std::to_string(trace.renewed_until_ms);
  return text;
}

}  // namespace

Answer run_audited_token_operation(TokenManager& tokens, AuditLog& audit,
                                   const TokenOperation& operation, const Request& request,
                                   const TokenCaller* caller, const Identity* who) {
  const Query query(request.raw_query);
  if (audit.format() != AuditFormat::json)
    return run_token_operation(tokens, operation, query, caller);
  if (audit.failing())
    return error_answer(Error(ErrorKind::unavailable, audit.health().last_error));
  TokenTrace trace;
  Answer answer = run_token_operation(tokens, operation, query, caller, &trace);
  const std::string detail = detail_of(answer, trace);
  AuditEvent event;
  event.status = status_of(answer);
  event.op = operation.name;
  if (who != nullptr) {
    event.user = who->full;
    event.real_user = who->real_full;
  }
  event.extra = detail;
  event.remote_address = request.remote_ip;
  event.request_id = request.id;
  event.received_us = request.received_us;
  auto written = audit.record(event);
  return written.ok() ? std::move(answer) : error_answer(written.error());
}

}  // namespace kms::rest
