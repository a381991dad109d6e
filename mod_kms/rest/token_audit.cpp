// SPDX-License-Identifier: Apache-2.0
#include "rest/token_audit.h"

#include "rest/dispatch.h"

namespace kms::rest {
namespace {

AuditStatus status_of(const Answer& answer) {
  return answer.failure == ErrorKind::authentication ? AuditStatus::unauthorized
                                                     : AuditStatus::error;
}

Result<void> record(AuditLog& audit, AuditStatus status, const TokenOperation& operation,
                    const Request& request, const Identity* who, std::string_view detail) {
  AuditEvent event;
  event.status = status;
  event.op = operation.name;
  if (who != nullptr) {
    event.user = who->full;
    event.real_user = who->real_full;
  }
  event.extra = detail;
  event.remote_address = request.remote_ip;
  event.request_id = request.id;
  event.received_us = request.received_us;
  return audit.record(event);
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
  bool unwritable = false;
  const auto approve = [&](const TokenIdentifier& token,
                           std::int64_t renew_until_ms) -> Result<void> {
    std::string detail = token.text();
    if (renew_until_ms != 0) detail += ", renewDate=" + std::to_string(renew_until_ms);
    auto written = record(audit, AuditStatus::ok, operation, request, who, detail);
    unwritable = !written.ok();
    return written;
  };
  Answer answer = run_token_operation(tokens, operation, query, caller, approve);
  // Nobody waits twice for a log that hangs.
  if (answer.status < 300 || unwritable) return answer;
  auto written = record(audit, status_of(answer), operation, request, who,
                        answer.failure_text.empty() ? answer.html_reason : answer.failure_text);
  return written.ok() ? std::move(answer) : error_answer(written.error());
}

}  // namespace kms::rest
