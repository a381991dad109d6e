// SPDX-License-Identifier: Apache-2.0
#include "authentication.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#include "credentials.h"
#include "guard.h"
#include "instance.h"
#include "kms_config.h"
#include "pages/pages.h"
#include "request_state.h"
#include "response.h"
#include "rest/dispatch.h"
#include "rest/path.h"
#include "rest/query.h"
#include "token_service.h"

namespace kms {
namespace {

constexpr const char* kNoCredentials = "Authentication required";

int refuse_page(request_rec* r, int status, std::string_view reason) {
  if (auto written = record_refusal(r, reason); !written.ok())
    return refuse_json(r, written.error());
  send_html_error(r, status, reason);
  return DONE;
}

bool is_user_name(std::string_view name) {
  return !name.empty() && rest::is_utf8_without_nul(name) && one_line(name) == name;
}

int finish(request_rec* r, rest::Identity&& identity) {
  r->user = apr_pstrdup(r->pool, identity.full.c_str());
  if (r->ap_auth_type == nullptr) r->ap_auth_type = apr_pstrdup(r->pool, "KMS");
  request_state(r)->identity = std::move(identity);
  request_state(r)->authenticated = true;
  request_state(r)->early = false;
  return OK;
}

// Fills the state for user, who acts for somebody else where doAs says so.
int settle(request_rec* r, Instance& instance, const std::string& user, const rest::Query& query) {
  const NameRules& rules = instance.settings().name_rules;
  auto short_name = rules.short_name(user);
  if (!short_name.ok()) return refuse_json(r, std::move(short_name).error());
  rest::Identity identity;
  identity.full = user;
  identity.short_name = std::move(*short_name);
  if (const auto do_as = query.first_any_case("doAs"); do_as.has_value()) {
    if (do_as->empty() || !rest::is_utf8_without_nul(*do_as))
      return refuse_json(r,
                         Error(ErrorKind::invalid_argument, "Parameter 'doAs' is not a user name"));
    auto do_as_short = rules.short_name(*do_as);
    if (!do_as_short.ok()) return refuse_json(r, std::move(do_as_short).error());
    auto allowed = instance.proxy_users().authorize(
        identity.full, identity.short_name, *do_as_short, r->useragent_ip, instance.groups());
    if (!allowed.ok()) return refuse_json(r, std::move(allowed).error());
    identity.real_full = std::move(identity.full);
    identity.real_short = std::move(identity.short_name);
    identity.full = *do_as;
    identity.short_name = std::move(*do_as_short);
  }
  return finish(r, std::move(identity));
}

// The cookie of who has just authenticated (the answer of a token operation has none), then doAs.
// OK, or DONE when a refusal was sent.
int accept_new(request_rec* r, Instance& instance, const std::string& full_name,
               const rest::Query& query) {
  RequestState& state = *request_state(r);
  auto short_name = instance.settings().name_rules.short_name(full_name);
  if (!short_name.ok()) {
    // A true ticket that opens nothing is more likely a rule that was forgotten than an attack.
    if (state.for_gssapi)
      ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "KMS0305: the ticket is good, but %s",
                    short_name.error().message.c_str());
    return refuse_page(r, HTTP_FORBIDDEN, short_name.error().message);
  }
  state.account = *short_name;
  if (state.token_operation == nullptr) {
    if (auto issued = issue_cookie(r, instance, *short_name, full_name); !issued.ok()) {
      if (issued.error().kind == ErrorKind::unavailable) return refuse_json(r, issued.error());
      return refuse_page(r, HTTP_BAD_REQUEST, issued.error().message);
    }
  }
  return settle(r, instance, full_name, query);
}

// A delegation token that is presented is final: no other way is tried when it fails. It settles
// doAs as well.
int use_delegation_token(request_rec* r, Instance& instance, std::string_view token) {
  auto user = instance.tokens().verify(token);
  if (!user.ok()) return refuse_json(r, std::move(user).error());
  const NameRules& rules = instance.settings().name_rules;
  auto short_name = rules.short_name(user->owner);
  if (!short_name.ok()) return refuse_json(r, std::move(short_name).error());
  rest::Identity identity;
  if (!user->real_user.empty() && user->real_user != user->owner) {
    auto real_short = rules.short_name(user->real_user);
    if (!real_short.ok()) return refuse_json(r, std::move(real_short).error());
    identity.real_full = std::move(user->real_user);
    identity.real_short = std::move(*real_short);
  }
  identity.full = std::move(user->owner);
  identity.short_name = std::move(*short_name);
  request_state(r)->authenticated_by = AuthOutcome::token;
  return finish(r, std::move(identity));
}

// With Kerberos, when neither cookie nor token is there: DECLINED where mod_auth_gssapi has a
// ticket to look at. A request without one is refused here, so that the refusal is complete.
int use_kerberos(request_rec* r, Instance& instance, const std::string& reason) {
  const char* type = ap_auth_type(r);
  if (type == nullptr || strcasecmp(type, "GSSAPI") != 0) {
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "KMS0301: the authentication type is kerberos, but this location has 'AuthType "
                  "%s' and not 'AuthType GSSAPI'",
                  type != nullptr ? type : "None");
    return HTTP_INTERNAL_SERVER_ERROR;
  }
  const auto authorization = header(r, "Authorization");
  constexpr std::string_view kScheme = "Negotiate ";
  if (authorization.has_value() && authorization->size() > kScheme.size() &&
      strncasecmp(authorization->data(), kScheme.data(), kScheme.size()) == 0) {
    request_state(r)->for_gssapi = true;
    return DECLINED;
  }
  if (request_state(r)->token_operation != nullptr) return refuse_token_operation(r, instance);
  return refuse(r, instance, reason);
}

int use_simple(request_rec* r, Instance& instance, const rest::Query& query,
               const std::string& reason) {
  const auto name = query.first("user.name");
  if (!name.has_value()) {
    if (request_state(r)->token_operation != nullptr) return refuse_token_operation(r, instance);
    return refuse(r, instance, reason);
  }
  if (!is_user_name(*name)) return refuse_page(r, HTTP_BAD_REQUEST, "user.name is not a user name");
  return accept_new(r, instance, std::string(*name), query);
}

// The token presented with a request: the header, else the parameter. An empty header is none.
std::optional<std::string_view> presented_token(const request_rec* r, const rest::Query& query) {
  const auto in_header = header(r, "X-Hadoop-Delegation-Token");
  if (in_header.has_value() && !in_header->empty()) return in_header;
  return query.first("delegation");
}

}  // namespace

int authenticate(request_rec* r, bool early) {
  Instance* instance = instance_of(r);
  if (instance == nullptr) {
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "KMS0603: KMSEngine is On here, but no KMS is configured in this server");
    return HTTP_INTERNAL_SERVER_ERROR;
  }
  if (const int open = admit_to_open_page(r, early); open != DECLINED) return open;
  const rest::Query query(raw_query(r));
  RequestState& state = make_request_state(r);
  state.early = early;
  state.token_operation = rest::find_token_operation(r->method, query);
  if (state.token_operation != nullptr) {
    if (auto mistake = rest::token_operation_mistake(*state.token_operation, r->method)) {
      send_answer(r, std::move(*mistake));
      return DONE;
    }
  }
  AuthToken cookie;
  std::string reason = kNoCredentials;
  if (try_cookie(r, *instance, cookie, reason) == CookieState::valid) {
    state.account = cookie.user;
    state.authenticated_by = AuthOutcome::cookie;
    // Java goes by u for the operations on tokens, by p for all others.
    return settle(r, *instance, state.token_operation != nullptr ? cookie.user : cookie.principal,
                  query);
  }
  if (state.token_operation != nullptr) {
    if (state.token_operation->op == rest::TokenOp::cancel)
      return cancel_as_holder(r, *instance, state);
  } else if (const auto token = presented_token(r, query); token.has_value()) {
    return use_delegation_token(r, *instance, *token);
  }
  return instance->settings().authentication == hadoop::AuthenticationType::kerberos
             ? use_kerberos(r, *instance, reason)
             : use_simple(r, *instance, query, reason);
}

int check_authn(request_rec* r) {
  if (!engine_on(r)) return DECLINED;
  return guarded(r, [r] { return authenticate(r, true); });
}

int after_authn(request_rec* r) {
  if (!engine_on(r)) return DECLINED;
  return guarded(r, [r] {
    RequestState* state = request_state(r);
    if (state == nullptr || !state->for_gssapi || state->authenticated) return DECLINED;
    // Only a ticket was declined for; what another module took for a user is none here.
    if (r->user == nullptr || r->ap_auth_type == nullptr ||
        strcasecmp(r->ap_auth_type, "Negotiate") != 0)
      return HTTP_UNAUTHORIZED;
    // A principal has its realm. A name without one (of NTLM, of GssapiLocalName) would pass the
    // rules as it is.
    if (strchr(r->user, '@') == nullptr) {
      ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                    "KMS0306: mod_auth_gssapi says '%s', which is no Kerberos principal", r->user);
      return refuse_page(r, HTTP_FORBIDDEN, "Not a Kerberos principal");
    }
    state->authenticated_by = AuthOutcome::kerberos;
    const int rc = accept_new(r, *instance_of(r), r->user, rest::Query(raw_query(r)));
    return rc == OK ? DECLINED : rc;
  });
}

void complete_refusal(request_rec* r) {
  if (!engine_on(r) || r->status != HTTP_UNAUTHORIZED) return;
  guarded(r, [r] {
    RequestState* state = request_state(r);
    Instance* instance = instance_of(r);
    if (state == nullptr || instance == nullptr || !state->for_gssapi || state->refusal_completed)
      return OK;
    state->refusal_completed = true;
    clear_cookie(r, *instance);
    if (auto written = record_unauthenticated(r, *instance, kNoCredentials); !written.ok())
      ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "KMS0302: %s", written.error().message.c_str());
    return OK;
  });
}

}  // namespace kms
