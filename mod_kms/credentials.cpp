// SPDX-License-Identifier: Apache-2.0
#include "credentials.h"

#include "core/clock.h"
#include "kms_config.h"
#include "request_id.h"
#include "request_state.h"
#include "response.h"
#include "rest/dispatch.h"
#include "rest/query.h"

namespace kms {
namespace {

bool kerberos(const Instance& instance) {
  return instance.settings().authentication == hadoop::AuthenticationType::kerberos;
}

const char* token_type(const Instance& instance) {
  return kerberos(instance) ? "kerberos-dt" : "simple-dt";
}

CookieAttributes cookie_attributes(request_rec* r, const hadoop::Settings& settings) {
  CookieAttributes attributes;
  attributes.path = settings.cookie_path;
  attributes.domain = settings.cookie_domain;
  attributes.persistent = settings.cookie_persistent;
  const auto secure = server_config(r->server).cookie_secure.value_or(CookieSecure::by_scheme);
  attributes.secure =
      secure == CookieSecure::always ||
      (secure == CookieSecure::by_scheme && std::string_view(ap_http_scheme(r)) == "https");
  return attributes;
}

Result<void> send_cookie(request_rec* r, Instance& instance, const AuthToken& token) {
  auto signed_value = sign_token(token, instance.signer());
  if (!signed_value.ok()) return std::move(signed_value).error();
  const std::string header =
      set_cookie_header(*signed_value, token.expires_ms, cookie_attributes(r, instance.settings()));
  apr_table_add(r->err_headers_out, "Set-Cookie", header.c_str());
  return {};
}

void ask_for_credentials(request_rec* r, const Instance& instance) {
  apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                 kerberos(instance) ? "Negotiate" : "PseudoAuth");
}

}  // namespace

CookieState try_cookie(request_rec* r, Instance& instance, AuthToken& token, std::string& reason) {
  std::string_view value;
  const auto cookies = header(r, "Cookie");
  if (!cookies.has_value() || !find_auth_cookie(*cookies, value)) return CookieState::absent;
  const std::int64_t now = now_ms();
  auto verified = verify_cookie(value, token_type(instance), now, instance.signer());
  if (!verified.ok()) {
    reason = verified.error().message;
    return CookieState::bad;
  }
  token = std::move(*verified);
  const hadoop::Settings& settings = instance.settings();
  if (settings.max_inactive_s > 0 && !settings.cookie_persistent) {
    token.max_inactive_ms = now + settings.max_inactive_s * 1000;
    if (!send_cookie(r, instance, token).ok()) return CookieState::bad;
  }
  return CookieState::valid;
}

Result<void> issue_cookie(request_rec* r, Instance& instance, std::string_view short_name,
                          std::string_view full_name) {
  AuthToken token;
  token.user = short_name;
  token.principal = full_name;
  token.type = token_type(instance);
  token.expires_ms = now_ms() + instance.settings().token_validity_s * 1000;
  return send_cookie(r, instance, token);
}

void clear_cookie(request_rec* r, Instance& instance) {
  const std::string header = set_cookie_header("", 0, cookie_attributes(r, instance.settings()));
  apr_table_set(r->err_headers_out, "Set-Cookie", header.c_str());
}

Result<void> record_unauthenticated(request_rec* r, Instance& instance, std::string_view reason) {
  if (r->method_number == M_OPTIONS) return {};
  std::string url = base_url(r) + std::string(raw_path(r));
  if (const std::string query = rest::masked_query(raw_query(r)); !query.empty())
    url += "?" + query;
  const std::string extra = "RemoteHost:" + std::string(r->useragent_ip) + " Method:" + r->method +
                            " URL:" + url + " ErrorMsg:'" + one_line(reason) + "'";
  AuditEvent event;
  event.status = AuditStatus::unauthenticated;
  event.extra = extra;
  event.remote_address = r->useragent_ip;
  event.request_id = request_id(r);
  event.received_us = r->request_time;
  return instance.audit().record(event);
}

int refuse(request_rec* r, Instance& instance, const std::string& reason) {
  if (auto written = record_unauthenticated(r, instance, reason); !written.ok())
    return refuse_json(r, written.error());
  ask_for_credentials(r, instance);
  clear_cookie(r, instance);
  send_html_error(r, HTTP_UNAUTHORIZED, reason);
  return DONE;
}

int refuse_token_operation(request_rec* r, Instance& instance) {
  rest::Answer answer = rest::Answer::empty();
  answer.status = kerberos(instance) ? HTTP_UNAUTHORIZED : HTTP_FORBIDDEN;
  // Java has no message here, and for the 403 no line.
  auto written = answer.status == HTTP_UNAUTHORIZED ? record_unauthenticated(r, instance, "null")
                                                    : record_refusal(r, "Authentication required");
  if (!written.ok()) return refuse_json(r, written.error());
  ask_for_credentials(r, instance);
  send_answer(r, std::move(answer));
  return DONE;
}

Result<void> record_refusal(request_rec* r, std::string_view reason) {
  Instance& instance = *instance_of(r);
  if (instance.audit().format() != AuditFormat::json) return {};
  return record_unauthenticated(r, instance, reason);
}

int refuse_json(request_rec* r, const Error& error) {
  const Error* sent = &error;
  Result<void> written;
  if (error.kind != ErrorKind::unavailable) {
    written = record_refusal(r, error.message);
    if (!written.ok()) sent = &written.error();
  }
  send_answer(r, rest::error_answer(*sent));
  return DONE;
}

}  // namespace kms
