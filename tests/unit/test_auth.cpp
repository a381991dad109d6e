// SPDX-License-Identifier: Apache-2.0
// Cookie and proxy users, against what the real Hadoop classes said.
#include <algorithm>
#include <map>

#include "auth/cookie.h"
#include "auth/groups.h"
#include "auth/proxy_users.h"
#include "auth/signer.h"
#include "crypto/base64.h"
#include "vectors.h"

using namespace kms;
using unit::assert_text;
using unit::text_of;

namespace {

class NullLogger final : public Logger {
 public:
  void log(LogLevel, std::string_view, std::string_view) noexcept override {}
};

constexpr std::string_view kSecret = "mysecret-0123456789";

std::unique_ptr<SignerSecrets> signer(std::string_view secret = kSecret) {
  return make_fixed_signer(Secret(secret));
}

// Any text with its signature, as Java's Signer would sign it.
std::string signed_text(const std::string& text) {
  const auto mac = signer()->sign(text);
  assert_true(mac.ok());
  return text + "&s=" + base64_encode(*mac);
}

void assert_refused(const Result<AuthToken>& result, std::string_view reason) {
  assert_false(result.ok());
  assert_true(result.error().kind == ErrorKind::authentication);
  assert_text(result.error().message, reason);
}

void assert_cookie(std::string_view value, std::string_view reason,
                   std::string_view type = "simple-dt", std::int64_t now = 1700000000000) {
  assert_refused(verify_cookie(value, type, now, *signer()), reason);
}

constexpr std::string_view kBadSignature =
    "org.apache.hadoop.security.authentication.util.SignerException: Invalid signature";
constexpr std::string_view kMissing = "Invalid token string, missing attributes";

void captured_cookies(void**) {
  const auto json = unit::load_json("auth-vectors.json");
  const json_t* cookies = unit::section(json, "cookies_captured", 27);
  std::size_t i;
  const json_t* c;
  json_array_foreach(cookies, i, c) {
    const std::string value = text_of(c, "value");
    const json_t* fields = json_object_get(c, "fields");
    const auto result = verify_cookie(value, text_of(fields, "t", "simple-dt"), 0,
                                      *signer(text_of(c, "secretUtf8")));
    if (!json_is_true(json_object_get(c, "signatureValid"))) {
      assert_refused(result, kBadSignature);
    } else if (text_of(fields, "e") == "abc" || text_of(fields, "t").empty()) {
      assert_refused(result, kMissing);
    } else {
      assert_true(result.ok());
      assert_text(result->user, text_of(fields, "u"));
      assert_text(result->principal, text_of(fields, "p"));
      assert_text(std::to_string(result->expires_ms), text_of(fields, "e"));
      assert_text(std::to_string(result->max_inactive_ms), text_of(fields, "i", "-1"));
      assert_text(*sign_token(*result, *signer()), value);
    }
  }
  assert_int_equal(i, 27);
}

void fixed_secret_cookies(void**) {
  const auto json = unit::load_json("auth-vectors.json");
  std::size_t i;
  const json_t* c;
  json_array_foreach(unit::section(json, "cookies_fixed_secret", 3), i, c) {
    AuthToken token;
    token.user = text_of(c, "u");
    token.principal = text_of(c, "p");
    token.type = text_of(c, "t");
    token.expires_ms = json_integer_value(json_object_get(c, "e"));
    if (const json_t* inactive = json_object_get(c, "i"))
      token.max_inactive_ms = json_integer_value(inactive);
    const auto secret = signer(text_of(c, "secretUtf8"));
    const auto value = sign_token(token, *secret);
    assert_true(value.ok());
    assert_text(*value, text_of(c, "value"));
    assert_true(verify_cookie(*value, token.type, 1, *secret).ok());
    assert_true(verify_cookie("\"" + *value + "\"", token.type, 1, *secret).ok());
  }
  assert_int_equal(i, 3);
}

void bad_cookies(void**) {
  const std::string exception = "org.apache.hadoop.security.authentication.util.SignerException: ";
  assert_cookie("", "Unauthorized access");
  assert_cookie("\"\"", "Unauthorized access");
  assert_cookie("garbage", exception + "Invalid signed text: garbage");
  // What a stranger sends cannot end the status line, nor fill it.
  assert_cookie("a\r\nSet-Cookie: x\x7f\xc3\xbc",
                exception + "Invalid signed text: a??Set-Cookie: x???");
  assert_cookie(std::string(500, 'a'), exception + "Invalid signed text: " + std::string(64, 'a'));
  assert_cookie("u=a&p=a&t=simple-dt&e=-1&s=", kBadSignature);
  assert_cookie("&s=", kBadSignature);
  assert_cookie("u=a&p=a&t=simple-dt&e=-1&s=" + std::string(44, 'A'), kBadSignature);
  const std::string good = signed_text("u=a&p=a&t=simple-dt&e=-1");
  assert_cookie(good + "=", kBadSignature);
  assert_cookie(good + "&s=x", kBadSignature);
  assert_cookie(good.substr(0, good.size() - 1), kBadSignature);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string changed = good;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    assert_false(verify_cookie(changed, "simple-dt", 0, *signer()).ok());
  }
  assert_cookie(good, "Invalid AuthenticationToken type", "kerberos-dt");
  for (const char* text :
       {"u=a&p=a&t=simple-dt", "u=a&p=a&e=1", "u=a&t=simple-dt&e=1", "p=a&t=simple-dt&e=1",
        "u=&p=a&t=simple-dt&e=1", "", "u=a&p=a&t=simple-dt&e=", "u=a&p=a&t=simple-dt&e=1x",
        "u=a&p=a&t=simple-dt&e=+-1", "u=a&p=a&t=simple-dt&e=1&i=zz",
        "u=a&p=a&t=simple-dt&e=9223372036854775808"})
    assert_cookie(signed_text(text), kMissing);
  assert_cookie(signed_text("u=a&p=a&t=simple-dt&e=1&x"), "Invalid authentication token");
}

void cookie_parsing(void**) {
  const auto parsed =
      verify_cookie(signed_text("e=5&&x=y&t=simple-dt&p=a=b/c@D E&u=first&u=j\xc3\xbcrg&i=+7&"),
                    "simple-dt", 5, *signer());
  assert_true(parsed.ok());
  assert_text(parsed->user, "j\xc3\xbcrg");
  assert_text(parsed->principal, "a=b/c@D E");
  assert_int_equal(parsed->expires_ms, 5);
  assert_int_equal(parsed->max_inactive_ms, 7);
}

void cookie_expiry(void**) {
  auto state = [](const std::string& tail, std::int64_t now) {
    return verify_cookie(signed_text("u=a&p=a&t=simple-dt" + tail), "simple-dt", now, *signer());
  };
  assert_true(state("&e=1000", 1000).ok());
  assert_refused(state("&e=1000", 1001), "AuthenticationToken expired");
  assert_refused(state("&e=0", 1), "AuthenticationToken expired");
  assert_true(state("&e=-1", 1).ok());
  assert_true(state("&i=1000&e=2000", 1000).ok());
  assert_refused(state("&i=1000&e=2000", 1001), "AuthenticationToken expired");
  assert_true(state("&i=-1&e=2000", 1001).ok());
  // The type is looked at first.
  assert_refused(verify_cookie(signed_text("u=a&p=a&t=other&e=0"), "simple-dt", 1, *signer()),
                 "Invalid AuthenticationToken type");
}

void token_parts(void**) {
  AuthToken token{"a", "a", "simple-dt", -1, -1};
  assert_text(*token_text(token), "u=a&p=a&t=simple-dt&e=-1");
  for (const char* bad : {"", "a&b", "a\nb", "a\"b", "a;b", "a\x7f"}) {
    token.user = bad;
    const auto text = token_text(token);
    assert_false(text.ok());
    assert_true(text.error().kind == ErrorKind::invalid_argument);
    assert_false(sign_token(token, *signer()).ok());
  }
}

void set_cookie_headers(void**) {
  CookieAttributes plain;
  assert_text(set_cookie_header("v", 5, plain), "hadoop.auth=\"v\"; HttpOnly");
  assert_text(set_cookie_header("", 5, plain), "hadoop.auth=; HttpOnly");
  CookieAttributes full{"/kms", "example.com", true, true};
  assert_text(set_cookie_header("v", 1795520962999, full),
              "hadoop.auth=\"v\"; Path=/kms; Domain=example.com; "
              "Expires=Tue, 24-Nov-2026 11:49:22 GMT; Secure; HttpOnly");
  assert_text(set_cookie_header("", 1795520962999, full),
              "hadoop.auth=; Path=/kms; Domain=example.com; "
              "Expires=Thu, 01-Jan-1970 00:00:00 GMT; Secure; HttpOnly");
  assert_text(set_cookie_header("v", -1, {"", "", true, false}), "hadoop.auth=\"v\"; HttpOnly");
  assert_text(set_cookie_header("v", INT64_MAX, {"", "", true, false}),
              "hadoop.auth=\"v\"; HttpOnly");
}

void cookie_headers(void**) {
  std::string_view value;
  auto assert_found = [&](std::string_view header, std::string_view want) {
    assert_true(find_auth_cookie(header, value));
    assert_text(value, want);
  };
  assert_found("hadoop.auth=\"u=a&s=b\"", "\"u=a&s=b\"");
  assert_found("hadoop.auth=u=a", "u=a");
  assert_found("a=b; hadoop.auth = x ; hadoop.auth=y", "x");
  assert_found(";;hadoop.auth=;", "");
  assert_found("n; hadoop.auth=\"a;b\" ; c=d", "\"a;b\"");
  assert_found("q=\"; hadoop.auth=fake\"; hadoop.auth=real", "real");
  // Quotes that do not close: no cookie swallows those after it.
  assert_found("q=\"abc; hadoop.auth=x", "x");
  assert_found("q=\"abc; hadoop.auth=\"x\"", "\"x\"");
  assert_found("hadoop.auth=\"abc", "\"abc");
  for (const char* none : {"", ";", "=", "hadoop.auth", "xhadoop.auth=1", "Hadoop.auth=1",
                           "a=hadoop.auth=1", "a=b, hadoop.auth=1"})
    assert_false(find_auth_cookie(none, value));
}

using Names = std::vector<std::string>;

std::unique_ptr<Groups> groups_of(Logger& logger, std::map<std::string, Names> known) {
  Groups::Options options;
  options.lookup = [known = std::move(known)](const std::string& user) -> Result<Names> {
    const auto found = known.find(user);
    return found == known.end() ? Names{} : found->second;
  };
  auto made = Groups::create(std::move(options), logger);
  assert_true(made.ok());
  return std::move(made).value();
}

// --- proxy users
// ----------------------------------------------------------------------------------

std::vector<ProxyUserRule> rules_of(const json_t* conf) {
  std::map<std::string, ProxyUserRule> rules;
  const char* name;
  json_t* value;
  json_object_foreach(const_cast<json_t*>(conf), name, value) {
    const std::string property = name;  // proxyuser.NAME.users
    const std::size_t dot = property.rfind('.');
    const std::string user = property.substr(10, dot - 10), kind = property.substr(dot + 1);
    ProxyUserRule& rule = rules[user];
    rule.real_user = user;
    const std::string text = json_string_value(value);
    if (kind == "users") rule.has_users = true, rule.users = text;
    if (kind == "groups") rule.has_groups = true, rule.groups = text;
    if (kind == "hosts") rule.has_hosts = true, rule.hosts = text;
  }
  std::vector<ProxyUserRule> list;
  for (auto& [user, rule] : rules) list.push_back(rule);
  return list;
}

std::string verdict(const std::vector<ProxyUserRule>& rules, std::string_view real,
                    std::string_view do_as, std::string_view ip, Groups& groups) {
  std::vector<std::string> warnings;
  const auto users = ProxyUsers::build(rules, warnings);
  if (!users.ok()) {
    assert_true(users.error().kind == ErrorKind::configuration);
    return users.error().message;
  }
  const auto result = users->authorize(real, real, do_as, ip, groups);
  if (result.ok()) return "allowed";
  assert_true(result.error().kind == ErrorKind::not_authorized);
  return "AuthorizationException: " + result.error().message;
}

void proxy_user_vectors(void**) {
  NullLogger logger;
  const auto json = unit::load_json("auth-vectors.json");
  std::size_t i;
  const json_t* v;
  json_array_foreach(unit::section(json, "proxyusers", 13), i, v) {
    Names of_do_as;
    std::size_t g;
    const json_t* group;
    json_array_foreach(json_object_get(v, "doAsGroups"), g, group)
        of_do_as.push_back(json_string_value(group));
    const auto groups = groups_of(logger, {{text_of(v, "doAs"), of_do_as}});
    const std::string got = verdict(rules_of(json_object_get(v, "conf")), text_of(v, "realUser"),
                                    text_of(v, "doAs"), text_of(v, "remoteIp"), *groups);
    const std::string want = text_of(v, "result");
    if (want.rfind("IllegalArgumentException: ", 0) == 0) {
      assert_text(got, "hadoop.kms.proxyuser.hive.hosts: " + want.substr(26));
    } else {
      assert_text(got, want);
    }
  }
  assert_int_equal(i, 13);
}

ProxyUserRule rule_for(const char* users, const char* groups, const char* hosts) {
  ProxyUserRule rule;
  rule.real_user = "hive";
  rule.has_users = users != nullptr;
  rule.has_groups = groups != nullptr;
  rule.has_hosts = hosts != nullptr;
  rule.users = users != nullptr ? users : "";
  rule.groups = groups != nullptr ? groups : "";
  rule.hosts = hosts != nullptr ? hosts : "";
  return rule;
}

void proxy_user_rules(void**) {
  NullLogger logger;
  const auto groups = groups_of(logger, {{"carol", {"etl", "staff"}}});
  auto allowed = [&](const ProxyUserRule& rule, std::string_view do_as, std::string_view ip) {
    return verdict({rule}, "hive", do_as, ip, *groups) == "allowed";
  };
  const char* local = "127.0.0.1";
  assert_true(allowed(rule_for(nullptr, " ops ,\netl", "*"), "carol", local));
  assert_false(allowed(rule_for(nullptr, "et", "*"), "carol", local));
  assert_false(allowed(rule_for("dave", nullptr, "*"), "carol", local));
  assert_true(allowed(rule_for(" * ", nullptr, " * "), "carol", local));
  assert_false(allowed(rule_for("dave,*", nullptr, "*"), "carol", local));
  assert_false(allowed(rule_for("*", nullptr, nullptr), "carol", local));
  assert_false(allowed(rule_for(nullptr, nullptr, "*"), "carol", local));
  assert_false(allowed(rule_for("*", nullptr, "*"), "", local));
  // A user needs a rule to act for itself too.
  assert_false(allowed(rule_for("carol", nullptr, "*"), "hive", local));
  assert_text(verdict({rule_for("*", nullptr, "*")}, "other", "carol", local, *groups),
              "AuthorizationException: User: other is not allowed to impersonate carol");
  // The rule goes by the short name, the words by the full one.
  std::vector<std::string> warnings;
  const auto users = ProxyUsers::build({rule_for("*", nullptr, "10.0.0.1")}, warnings);
  assert_text(users->authorize("hive/h@R", "hive", "carol", "10.0.0.2", *groups).error().message,
              "Unauthorized connection for super-user: hive/h@R from IP /10.0.0.2");
}

void proxy_user_addresses(void**) {
  NullLogger logger;
  const auto groups = groups_of(logger, {});
  auto from = [&](const char* hosts, std::string_view ip) {
    return verdict({rule_for("*", nullptr, hosts)}, "hive", "x", ip, *groups) == "allowed";
  };
  assert_true(from("10.0.0.0/8, 192.168.1.1", "10.255.255.255"));
  assert_false(from("10.0.0.0/8, 192.168.1.1", "11.0.0.0"));
  assert_true(from("10.1.2.3/0", "200.1.1.1"));
  assert_true(from("10.1.2.129/25", "10.1.2.128"));
  assert_false(from("10.1.2.129/25", "10.1.2.127"));
  assert_true(from("10.1.2.3/32", "10.1.2.3"));
  // Mapped addresses are the IPv4 ones; IPv4 networks hold no IPv6 address.
  assert_true(from("10.0.0.0/8", "::ffff:10.1.1.1"));
  assert_true(from("::ffff:10.1.1.1", "10.1.1.1"));
  assert_true(from("::ffff:10.0.0.0/104", "10.1.1.1"));
  assert_false(from("0.0.0.0/0", "2001:db8::1"));
  assert_false(from("::/0", "10.1.1.1"));
  assert_true(from("2001:db8::/33", "2001:db8:7fff::1"));
  assert_false(from("2001:db8::/33", "2001:db8:8000::1"));
  assert_true(from("fe80::1", "fe80::1%eth0"));
  assert_false(from("10.1.1.1", "not an address"));
  assert_text(verdict({rule_for("*", nullptr, "")}, "hive", "x", "2001:db8::a:0:1", *groups),
              "AuthorizationException: Unauthorized connection for super-user: hive from IP "
              "/2001:db8:0:0:0:a:0:1");
  for (const char* bad :
       {"10.0.0.0/-1", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "/8", "10.0.0.0/8x",
        "2001:db8::/129", "name/8", "::ffff:10.0.0.0/95", "fe80::1%eth0/64"})
    assert_text(
        verdict({rule_for("*", nullptr, bad)}, "hive", "x", "10.0.0.1", *groups).substr(0, 32),
        "hadoop.kms.proxyuser.hive.hosts:");
  // Two readings: neither counts.
  std::vector<std::string> warnings;
  assert_true(ProxyUsers::build({rule_for("*", nullptr, "010.0.0.1,10.1,*, no.such.host.invalid")},
                                warnings)
                  .ok());
  assert_int_equal(warnings.size(), 4);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(captured_cookies),     cmocka_unit_test(fixed_secret_cookies),
      cmocka_unit_test(bad_cookies),          cmocka_unit_test(cookie_parsing),
      cmocka_unit_test(cookie_expiry),        cmocka_unit_test(token_parts),
      cmocka_unit_test(set_cookie_headers),   cmocka_unit_test(cookie_headers),
      cmocka_unit_test(proxy_user_vectors),   cmocka_unit_test(proxy_user_rules),
      cmocka_unit_test(proxy_user_addresses),
  };
  return cmocka_run_group_tests_name("auth", tests, nullptr, nullptr);
}
