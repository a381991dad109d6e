// SPDX-License-Identifier: Apache-2.0
#include "authentication.h"

#include <apr_strings.h>

#include "auth/cookie.h"
#include "auth/principal.h"
#include "core/clock.h"
#include "guard.h"
#include "instance.h"
#include "kms_config.h"
#include "request_state.h"
#include "response.h"
#include "rest/dispatch.h"
#include "rest/path.h"
#include "rest/query.h"

namespace kms {
namespace {

constexpr const char* kNoCredentials = "Authentication required";
constexpr const char* kTokenType = "simple-dt";

CookieAttributes cookie_attributes(request_rec* r, const hadoop::Settings& settings) {
  CookieAttributes attributes;
  attributes.path = settings.cookie_path;
  attributes.domain = settings.cookie_domain;
  attributes.persistent = settings.cookie_persistent;
  attributes.secure = std::string_view(ap_http_scheme(r)) == "https";
  return attributes;
}

void set_cookie(request_rec* r, const std::string& value) {
  apr_table_add(r->err_headers_out, "Set-Cookie", value.c_str());
}

// Every 401 but that of OPTIONS leaves a line; without it no answer that tells more than "later".
int refuse(request_rec* r, Instance& instance, const std::string& reason) {
  if (r->method_number != M_OPTIONS) {
    std::string url = base_url(r) + std::string(raw_path(r));
    if (const std::string query = rest::masked_query(raw_query(r)); !query.empty())
      url += "?" + query;
    const std::string extra = "RemoteHost:" + std::string(r->useragent_ip) +
                              " Method:" + r->method + " URL:" + url + " ErrorMsg:'" +
                              one_line(reason) + "'";
    AuditEvent event;
    event.status = AuditStatus::unauthenticated;
    event.extra = extra;
    event.remote_address = r->useragent_ip;
    if (auto written = instance.audit().record(event); !written.ok()) {
      send_answer(r, rest::error_answer(written.error()));
      return DONE;
    }
  }
  apr_table_setn(r->err_headers_out, "WWW-Authenticate", "PseudoAuth");
  set_cookie(r, set_cookie_header("", 0, cookie_attributes(r, instance.settings())));
  send_html_error(r, HTTP_UNAUTHORIZED, reason);
  return DONE;
}

int refuse_json(request_rec* r, const Error& error) {
  send_answer(r, rest::error_answer(error));
  return DONE;
}

Result<void> issue_cookie(request_rec* r, Instance& instance, const AuthToken& token) {
  auto signed_value = sign_token(token, instance.signer());
  if (!signed_value.ok()) return std::move(signed_value).error();
  set_cookie(r, set_cookie_header(*signed_value, token.expires_ms,
                                  cookie_attributes(r, instance.settings())));
  return {};
}

enum class CookieState { valid, absent, bad };

// A valid cookie settles the user. A bad one is as good as none, but its defect is the reason of a
// 401.
CookieState try_cookie(request_rec* r, Instance& instance, std::string& user, std::string& reason) {
  std::string_view value;
  const auto cookies = header(r, "Cookie");
  if (!cookies.has_value() || !find_auth_cookie(*cookies, value)) return CookieState::absent;
  const std::int64_t now = now_ms();
  auto token = verify_cookie(value, kTokenType, now, instance.signer());
  if (!token.ok()) {
    reason = token.error().message;
    return CookieState::bad;
  }
  user = token->principal;
  const hadoop::Settings& settings = instance.settings();
  if (settings.max_inactive_s > 0 && !settings.cookie_persistent) {
    token->max_inactive_ms = now + settings.max_inactive_s * 1000;
    if (!issue_cookie(r, instance, *token).ok()) return CookieState::bad;
  }
  return CookieState::valid;
}

// user.name of simple authentication. OK, or DONE when a refusal was sent.
int use_user_name(request_rec* r, Instance& instance, std::string_view name) {
  if (name.empty() || !rest::is_utf8_without_nul(name) || one_line(name) != name) {
    send_html_error(r, HTTP_BAD_REQUEST, "user.name is not a user name");
    return DONE;
  }
  auto short_name = short_name_simple(name);
  if (!short_name.ok()) {
    send_html_error(r, HTTP_FORBIDDEN, short_name.error().message);
    return DONE;
  }
  AuthToken token;
  token.user = *short_name;
  token.principal = name;
  token.type = kTokenType;
  token.expires_ms = now_ms() + instance.settings().token_validity_s * 1000;
  if (auto issued = issue_cookie(r, instance, token); !issued.ok()) {
    send_html_error(r, HTTP_BAD_REQUEST, issued.error().message);
    return DONE;
  }
  return OK;
}

// Fills the state for user, who acts for somebody else where doAs says so.
int settle(request_rec* r, Instance& instance, const std::string& user, const rest::Query& query) {
  auto short_name = short_name_simple(user);
  if (!short_name.ok()) return refuse_json(r, std::move(short_name).error());
  rest::Identity identity;
  identity.full = user;
  identity.short_name = std::move(*short_name);
  if (const auto do_as = query.first_any_case("doAs"); do_as.has_value()) {
    if (do_as->empty() || !rest::is_utf8_without_nul(*do_as))
      return refuse_json(r,
                         Error(ErrorKind::invalid_argument, "Parameter 'doAs' is not a user name"));
    auto do_as_short = short_name_simple(*do_as);
    if (!do_as_short.ok()) return refuse_json(r, std::move(do_as_short).error());
    auto allowed = instance.proxy_users().authorize(
        identity.full, identity.short_name, *do_as_short, r->useragent_ip, instance.groups());
    if (!allowed.ok()) return refuse_json(r, std::move(allowed).error());
    identity.real_full = std::move(identity.full);
    identity.real_short = std::move(identity.short_name);
    identity.full = *do_as;
    identity.short_name = std::move(*do_as_short);
  }
  r->user = apr_pstrdup(r->pool, identity.full.c_str());
  r->ap_auth_type = apr_pstrdup(r->pool, "KMS");
  make_request_state(r).identity = std::move(identity);
  return OK;
}

}  // namespace

int authenticate(request_rec* r) {
  Instance* instance = instance_of(r);
  if (instance == nullptr) {
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "KMS0603: KMSEngine is On here, but no KMS is configured in this server");
    return HTTP_INTERNAL_SERVER_ERROR;
  }
  const rest::Query query(raw_query(r));
  std::string user, reason = kNoCredentials;
  if (try_cookie(r, *instance, user, reason) != CookieState::valid) {
    // A delegation token that is presented is final; none has been issued by this server.
    const auto token = header(r, "X-Hadoop-Delegation-Token");
    if ((token.has_value() && !token->empty()) || query.first("delegation").has_value()) {
      return refuse_json(r, Error(ErrorKind::authentication,
                                  "org.apache.hadoop.security.token.SecretManager$InvalidToken: "
                                  "Token can't be found in cache"));
    }
    const auto name = query.first("user.name");
    if (!name.has_value()) return refuse(r, *instance, reason);
    if (const int rc = use_user_name(r, *instance, *name); rc != OK) return rc;
    user = *name;
  }
  return settle(r, *instance, user, query);
}

int check_authn(request_rec* r) {
  if (!engine_on(r)) return DECLINED;
  return guarded(r, [r] { return authenticate(r); });
}

}  // namespace kms
