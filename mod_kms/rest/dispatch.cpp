// SPDX-License-Identifier: Apache-2.0
#include "rest/dispatch.h"

#include <array>

#include "core/clock.h"
#include "hadoop/exceptions.h"
#include "rest/limiting.h"
#include "rest/media.h"
#include "rest/routes.h"

namespace kms::rest {
namespace {

// The method for routing: HEAD is answered as GET, and httpd keeps the body back.
std::string_view routed_method(std::string_view method) {
  return method == "HEAD" ? "GET" : method;
}

std::string allowed_methods(Resource resource) {
  std::string allowed = "OPTIONS";
  for (const Route& route : routes()) {
    if (route.resource != resource) continue;
    if (route.method == "GET") allowed += ",HEAD";
    allowed += ',';
    allowed += route.method;
  }
  return allowed;
}

const Route* find_route(Resource resource, std::string_view method) {
  for (const Route& route : routes())
    if (route.resource == resource && route.method == method) return &route;
  return nullptr;
}

Answer not_found(const Request& request) {
  std::string uri(request.base_url);
  uri += request.raw_path;
  if (!request.raw_query.empty()) {
    uri += '?';
    uri += masked_query(request.raw_query);
  }
  return error_answer(Error(ErrorKind::no_such_route, "null for uri: " + uri));
}

// The one refusal of Java that comes from its container, as a page.
Answer unparsable_content_type() {
  Answer answer;
  answer.status = 400;
  answer.content_type = "text/html;charset=iso-8859-1";
  answer.text =
      "<html><head><title>Error 400 Bad Request</title></head><body><h2>HTTP ERROR 400 Bad "
      "Request</h2>"
      "<p>The Content-Type header does not parse.</p></body></html>\n";
  answer.outcome.result = MetricResult::client_error;
  return answer;
}

Answer with_allow(Answer answer, Resource resource) {
  answer.headers.emplace_back("Allow", allowed_methods(resource));
  return answer;
}

// Parameters of a form beside those of the query; any other body is left alone.
Result<void> take_form(Exchange& x) {
  constexpr std::string_view kForm = "application/x-www-form-urlencoded";
  const std::string_view type = x.request.content_type.value_or("");
  if (!same_letters(type.substr(0, type.find(';')), kForm)) return {};
  auto bytes = x.request.body->read();
  if (!bytes.ok()) return std::move(bytes).error();
  x.form.emplace(as_text(bytes->view()));
  return {};
}

// Content-Type, then Accept, then the body itself.
Result<void> take_body(const Route& route, Exchange& x) {
  const Request& request = x.request;
  if (route.body == BodyKind::form) return take_form(x);
  if (route.body != BodyKind::none) {
    const char* wanted = route.body == BodyKind::array ? "java.util.List" : "java.util.Map";
    switch (check_content_type(request.content_type)) {
      case MediaCheck::json:
        break;
      case MediaCheck::other:
        return Error::without_message(ErrorKind::unsupported_media_type);
      case MediaCheck::unparsable:
        break;  // refused before
      case MediaCheck::missing:
        return Error(
            ErrorKind::missing_media_type,
            std::string("com.sun.jersey.api.MessageException: A message body reader for Java "
                        "class ") +
                wanted + ", and Java type interface " + wanted + ", and MIME media type " +
                std::string(request.content_type.value_or("application/octet-stream")) +
                " was not found.");
    }
  }
  if (route.checks_accept && !accepts_json(request.accept))
    return Error::without_message(ErrorKind::not_acceptable);
  if (route.body == BodyKind::none) return {};
  auto bytes = request.body->read();
  if (!bytes.ok()) return std::move(bytes).error();
  auto parsed = hadoop::parse_json(as_text(bytes->view()), route.body == BodyKind::array
                                                               ? hadoop::JsonShape::array
                                                               : hadoop::JsonShape::object);
  if (!parsed.ok()) return std::move(parsed).error();
  x.body = std::move(*parsed);
  return {};
}

Error op_denied(const Operation& op, const Exchange& x) {
  std::string text =
      "User:" + x.identity.short_name + " not allowed to do '" + std::string(op.audit_name) + "'";
  if (op.shows_key && !x.audit_key.empty()) text += " on '" + std::string(x.audit_key) + "'";
  return Error(ErrorKind::not_authorized, std::move(text));
}

std::optional<std::string_view> shown_key(const Operation& op, const Exchange& x) {
  if (!op.shows_key || x.audit_key.empty()) return std::nullopt;
  return x.audit_key;
}

AuditEvent event_of(AuditStatus status, const Request& request, const Identity& identity) {
  AuditEvent event;
  event.status = status;
  event.user = identity.full;
  event.real_user = identity.real_full;
  event.remote_address = request.remote_ip;
  event.request_id = request.id;
  event.received_us = request.received_us;
  return event;
}

AuditEvent event_of(AuditStatus status, const Exchange& x) {
  AuditEvent event = event_of(status, x.request, x.identity);
  event.version = x.audit_version;
  return event;
}

void mark(const Exchange& x, std::optional<JavaMeter> meter) {
  if (x.service.metrics != nullptr && meter.has_value()) x.service.metrics->mark(*meter);
}

// A denied request: the audit line first; when that cannot be written the denial turns into a 503.
Result<void> deny_op(const Operation& op, Exchange& x) {
  x.denial = MetricResult::denied_op;
  mark(x, JavaMeter::unauthorized);
  AuditEvent event = event_of(AuditStatus::unauthorized, x);
  event.op = op.audit_name;
  event.key = shown_key(op, x);
  KMS_TRY(x.service.audit.record(event));
  return op_denied(op, x);
}

Result<void> check_op(const Operation& op, OpAcl acl, std::optional<OpAcl> or_acl, Exchange& x) {
  if (x.op_allowed(acl) || (or_acl.has_value() && x.op_allowed(*or_acl))) return {};
  return deny_op(op, x);
}

Error key_denied(const Operation& op, const Exchange& x, const std::string& acl_name) {
  const std::string user = "User [" + x.identity.short_name + "] is not authorized to ";
  if (op.key_denial == Operation::KeyDenial::creation)
    return Error(ErrorKind::not_authorized, user + "create key !!");
  std::string text = user + "perform [" + std::string(key_op_name(*op.key_op)) +
                     "] on key with ACL name [" + acl_name + "]!!";
  if (op.key_denial == Operation::KeyDenial::wrapped_io) {
    return Error(ErrorKind::io,
                 "org.apache.hadoop.security.authorize.AuthorizationException: " + text);
  }
  return Error(ErrorKind::not_authorized, std::move(text));
}

// Key-level check of every key the request touches. Java writes a line for the operation and one
// for ALL where each failed, the first also when ALL then grants.
Result<void> check_keys(const Operation& op, Exchange& x) {
  if (!op.key_op.has_value() || !x.service.key_authorization) return {};
  for (const TouchedKey& key : x.touched) {
    const KeyDecision decision =
        x.acls().key_allowed(key.acl_name, *op.key_op, x.caller(), x.service.groups);
    std::array<AuditEvent, 2> lines;
    std::size_t count = 0;
    if (decision.denied_op || !decision.allowed) {
      lines[count] = event_of(AuditStatus::unauthorized, x);
      lines[count].op = key_op_name(*op.key_op);
      lines[count++].key = key.acl_name;
    }
    if (decision.denied_all) {
      lines[count] = event_of(AuditStatus::unauthorized, x);
      lines[count].op = key_op_name(KeyOp::all);
      lines[count++].key = key.acl_name;
    }
    if (count > 0) KMS_TRY(x.service.audit.record(lines.data(), count));
    if (decision.allowed) continue;
    x.denial = MetricResult::denied_key;
    return key_denied(op, x, key.acl_name);
  }
  return {};
}

Result<Answer> run_checked(const Route& route, Exchange& x) {
  KMS_TRY(take_body(route, x));
  mark(x, route.entry_meter);
  auto selected = route.select(x);
  if (!selected.ok()) return std::move(selected).error();
  const Operation& op = **selected;
  x.operation = &op;
  if (!op.meters_success) mark(x, op.meter);
  Limits::Charges charges;
  KMS_TRY(limit_user(op, x, charges));
  KMS_TRY(check_op(op, op.acl, op.or_acl, x));
  x.begun_us = now_us();
  if (op.resolve != nullptr) KMS_TRY(op.resolve(x));
  if (x.wants_key_material_acl) KMS_TRY(check_op(op, OpAcl::set_key_material, std::nullopt, x));
  KMS_TRY(check_keys(op, x));
  KMS_TRY(limit_key(op, x, charges));
  auto answer = op.run(x);
  if (!answer.ok()) return answer;
  KMS_TRY(x.record_done());
  if (op.meters_success) mark(x, op.meter);
  watch_decrypts(op, x);
  return answer;
}

// Failures that are no denial get an ERROR line; a limit has written its own. A failing audit log
// gets none and stays a 503, so that nobody waits for a log that hangs twice.
Error audited_failure(const Service& service, const Request& request, const Identity& identity,
                      Error error) {
  if (error.kind == ErrorKind::not_authorized || error.kind == ErrorKind::authentication ||
      error.kind == ErrorKind::rate_limited)
    return error;
  if (error.kind == ErrorKind::unavailable && service.audit.failing()) return error;
  const std::string_view message = error.message;
  const std::string extra =
      "Method:'" + std::string(request.method) + "' Exception:'" +
      (error.has_message ? std::string(message.substr(0, message.find('\n'))) : "null") + "'";
  AuditEvent event = event_of(AuditStatus::error, request, identity);
  event.extra = extra;
  if (auto written = service.audit.record(event); !written.ok()) return std::move(written).error();
  return error;
}

Outcome outcome_of(const Exchange& x, const Answer& answer) {
  Outcome outcome;
  if (x.operation != nullptr) outcome.op = x.operation->metric;
  outcome.result = result_of(answer);
  // A denial whose audit line could not be written is none.
  if (x.denial.has_value() && outcome.result != MetricResult::unavailable)
    outcome.result = *x.denial;
  outcome.key = x.audit_key;
  if (x.begun_us != 0) outcome.backend_us = now_us() - x.begun_us;
  return outcome;
}

}  // namespace

MetricResult result_of(const Answer& answer) {
  if (!answer.failure.has_value())
    return answer.status < 400 ? MetricResult::ok : MetricResult::client_error;
  switch (*answer.failure) {
    case ErrorKind::unavailable:
      return MetricResult::unavailable;
    case ErrorKind::rate_limited:
      return MetricResult::rate_limited;
    case ErrorKind::corrupt:
    case ErrorKind::internal:
      return MetricResult::server_error;
    default:
      return MetricResult::client_error;
  }
}

Result<void> Exchange::record_done() {
  if (audited) return {};
  AuditEvent event = event_of(AuditStatus::ok, *this);
  event.op = operation->audit_name;
  event.key = shown_key(*operation, *this);
  event.extra = audit_extra;
  KMS_TRY(service.audit.record(event));
  audited = true;
  return {};
}

Answer error_answer(const Error& error) {
  Answer answer = Answer::json(hadoop::remote_exception_json(error));
  answer.status = hadoop::wire_error(error.kind).status;
  answer.failure = error.kind;
  answer.failure_text = error.message;
  if (error.retry_after_s > 0)
    answer.headers.emplace_back("Retry-After", std::to_string(error.retry_after_s));
  else if (error.kind == ErrorKind::unavailable)
    answer.headers.emplace_back("Retry-After", "5");
  return answer;
}

Answer dispatch(Service& service, const Request& request, const Identity& identity) {
  auto fail = [&](Error error) {
    Answer answer = error_answer(audited_failure(service, request, identity, std::move(error)));
    answer.outcome.result = result_of(answer);
    return answer;
  };
  auto matched = match_path(request.raw_path);
  if (!matched.ok()) return fail(std::move(matched).error());
  if (!matched->has_value()) {
    // The audit line has the reason without the URL, as names in it are the client's.
    Answer answer = not_found(request);
    const Error written = audited_failure(service, request, identity,
                                          Error(ErrorKind::no_such_route, "No such resource"));
    if (written.kind != ErrorKind::no_such_route) answer = error_answer(written);
    answer.outcome.result = result_of(answer);
    return answer;
  }
  const Resource resource = (*matched)->resource;
  if (request.method == "OPTIONS") {
    Answer answer = with_allow(Answer::empty(), resource);
    answer.outcome.op = MetricOp::options;
    return answer;
  }
  const Route* route = find_route(resource, routed_method(request.method));
  if (route == nullptr)
    return with_allow(fail(Error::without_message(ErrorKind::method_not_allowed)), resource);

  if (route->body != BodyKind::none &&
      check_content_type(request.content_type) == MediaCheck::unparsable)
    return unparsable_content_type();
  Exchange exchange{service, request, identity, Query(request.raw_query),
                    std::move((*matched)->name)};
  auto answer = run_checked(*route, exchange);
  Answer sent = answer.ok() ? std::move(*answer) : fail(std::move(answer).error());
  sent.outcome = outcome_of(exchange, sent);
  return sent;
}

}  // namespace kms::rest
