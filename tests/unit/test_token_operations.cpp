// SPDX-License-Identifier: Apache-2.0
// The token operations of the REST API over a real store.
#include <jansson.h>

#include "auth/tokens/file_token_store.h"
#include "rest/token_operations.h"
#include "temp_dir.h"
#include "unit.h"

using namespace kms;
using namespace kms::rest;

namespace {

struct NoLog final : Logger {
  void log(LogLevel, std::string_view, std::string_view) noexcept override {}
};

struct Served {
  unit::TempDir dir;
  NoLog log;
  std::unique_ptr<TokenManager> tokens;

  Served() {
    FileTokenStoreOptions options;
    options.path = dir.path("tokens");
    auto store = open_file_token_store(std::move(options), log, false);
    assert_true(store.ok());
    tokens = std::make_unique<TokenManager>(std::move(*store), TokenSettings(), NameRules(), log);
    assert_true(tokens->attach().ok());
  }

  Answer run(const std::string& method, const std::string& query, const TokenCaller* caller) {
    const Query parsed(query);
    const TokenOperation* operation = find_token_operation(method, parsed);
    assert_non_null(operation);
    return run_token_operation(*tokens, *operation, parsed, caller);
  }
};

std::string body_of(const Answer& answer) {
  const ByteView secret = answer.secret_text.view();
  return answer.text + std::string(secret.begin(), secret.end());
}

std::string token_in(const Answer& answer) {
  assert_int_equal(answer.status, 200);
  const std::string body = body_of(answer);
  assert_true(body.ends_with("}\n"));
  const hadoop::JsonPtr json(json_loadb(body.data(), body.size(), 0, nullptr));
  const json_t* text = json_object_get(json_object_get(json.get(), "Token"), "urlString");
  assert_true(json_is_string(text));
  return json_string_value(text);
}

TokenIdentifier identifier_of(const std::string& token) {
  auto wire = WireToken::decode(token);
  assert_true(wire.ok());
  auto identifier = TokenIdentifier::decode(wire->identifier);
  assert_true(identifier.ok());
  return *identifier;
}

void operations_are_known_by_the_parameter(void**) {
  const TokenOperation* found = find_token_operation("GET", Query("a=b&op=GETDELEGATIONTOKEN"));
  assert_non_null(found);
  assert_true(found->op == TokenOp::get);
  // Whatever the case of the value and the method, but not with OPTIONS.
  assert_non_null(find_token_operation("PUT", Query("op=getDelegationToken")));
  assert_null(find_token_operation("OPTIONS", Query("op=GETDELEGATIONTOKEN")));
  for (const char* query : {"", "op=", "op=GETDELEGATIONTOKENS", "OP=GETDELEGATIONTOKEN", "op=x"})
    assert_null(find_token_operation("GET", Query(query)));

  const auto mistake = token_operation_mistake(*found, "PUT");
  assert_true(mistake.has_value());
  assert_int_equal(mistake->status, 400);
  assert_string_equal(mistake->html_reason.c_str(),
                      "Wrong HTTP method [PUT] for operation [GETDELEGATIONTOKEN], it should be "
                      "[GET]");
  assert_false(token_operation_mistake(*found, "GET").has_value());
}

void a_token_lives(void**) {
  Served served;
  const TokenCaller alice{"alice", {}, {}}, yarn{"yarn", {}, {}}, bob{"bob", {}, {}};
  const std::string token =
      token_in(served.run("GET", "op=GETDELEGATIONTOKEN&renewer=yarn/rm@R", &alice));
  const TokenIdentifier identifier = identifier_of(token);
  assert_string_equal(identifier.owner.c_str(), "alice");
  assert_string_equal(identifier.renewer.c_str(), "yarn");

  Answer renewed = served.run("PUT", "op=RENEWDELEGATIONTOKEN&token=" + token, &yarn);
  assert_int_equal(renewed.status, 200);
  assert_true(body_of(renewed).starts_with("{\"long\":"));
  Answer refused = served.run("PUT", "op=RENEWDELEGATIONTOKEN&token=" + token, &bob);
  assert_int_equal(refused.status, 403);
  assert_true(refused.clears_cookie);
  assert_true(refused.html_reason.find("bob tries to renew a token") != std::string::npos);

  refused = served.run("PUT", "op=CANCELDELEGATIONTOKEN&token=" + token, &bob);
  assert_int_equal(refused.status, 404);
  assert_string_equal(refused.html_reason.c_str(), "Invalid delegation token, cannot cancel");
  assert_true(served.tokens->verify(token).ok());
  // Whoever holds the token may cancel it.
  Answer cancelled = served.run("PUT", "op=CANCELDELEGATIONTOKEN&token=" + token, nullptr);
  assert_int_equal(cancelled.status, 200);
  assert_true(body_of(cancelled).empty());
  assert_false(served.tokens->verify(token).ok());
}

void with_do_as_the_token_names_both(void**) {
  Served served;
  const TokenCaller proxy{"proxy", "alice@R", "alice"};
  const TokenIdentifier identifier =
      identifier_of(token_in(served.run("GET", "op=GETDELEGATIONTOKEN&service=s", &proxy)));
  assert_string_equal(identifier.owner.c_str(), "alice@R");
  assert_string_equal(identifier.renewer.c_str(), "alice");
  assert_string_equal(identifier.real_user.c_str(), "proxy");
}

void what_is_missing_is_named(void**) {
  Served served;
  const TokenCaller alice{"alice", {}, {}};
  for (const char* name : {"RENEWDELEGATIONTOKEN", "CANCELDELEGATIONTOKEN"}) {
    const Answer answer = served.run("PUT", std::string("op=") + name, &alice);
    assert_int_equal(answer.status, 400);
    assert_string_equal(
        answer.html_reason.c_str(),
        ("Operation [" + std::string(name) + "] requires the parameter [token]").c_str());
  }
  for (const char* token : {"", "x", "HQAFYWxpY2U"}) {
    const std::string query = "token=" + std::string(token);
    assert_int_equal(served.run("PUT", "op=RENEWDELEGATIONTOKEN&" + query, &alice).status, 403);
    assert_int_equal(served.run("PUT", "op=CANCELDELEGATIONTOKEN&" + query, nullptr).status, 404);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(operations_are_known_by_the_parameter),
      cmocka_unit_test(a_token_lives),
      cmocka_unit_test(with_do_as_the_token_names_both),
      cmocka_unit_test(what_is_missing_is_named),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
