// SPDX-License-Identifier: Apache-2.0
// The rules of delegation tokens: who gets, renews, cancels and uses one, and what everybody else
// is told, in Hadoop's words.
#include <regex.h>

#include <sys/file.h>

#include <cstdlib>
#include <ctime>

#include "auth/tokens/token_manager.h"
#include "core/clock.h"
#include "file_token_store_util.h"

using namespace kms;
using unit::assert_contains;
using unit::assert_text;
using unit::done;
using unit::got;
using unit::Journal;

namespace {

constexpr std::string_view kInvalid =
    "org.apache.hadoop.security.token.SecretManager$InvalidToken: ";
constexpr std::string_view kAccess = "org.apache.hadoop.security.AccessControlException: ";

struct Served {
  Journal journal;
  std::unique_ptr<TokenStore> store;  // the same, to prepare things in
  std::unique_ptr<TokenManager> tokens;

  explicit Served(TokenSettings settings = {}, int lock_timeout_ms = 20000) {
    journal.lock_timeout_ms = lock_timeout_ms;
    store = journal.attached();
    auto rules = NameRules::parse("RULE:[2:$1@$0](.*@EXAMPLE.COM)s/@.*//\nDEFAULT",
                                  NameMechanism::hadoop, "EXAMPLE.COM");
    assert_true(rules.ok());
    tokens = std::make_unique<TokenManager>(journal.open(), settings, *rules, journal.log);
    done(tokens->attach());
  }

  std::string issue(const TokenManager::Request& request) {
    const Secret text = got(tokens->issue(request));
    return std::string(as_text(text.view()));
  }
  std::string issue(const std::string& owner = "alice", const std::string& renewer = "yarn") {
    return issue(request_of(owner, renewer));
  }
  static TokenManager::Request request_of(const std::string& owner, const std::string& renewer) {
    TokenManager::Request request;
    request.owner = owner;
    request.renewer = renewer;
    request.has_renewer = true;
    return request;
  }
};

TokenIdentifier identifier_of(const std::string& url_string) {
  return got(TokenIdentifier::decode(got(WireToken::decode(url_string)).identifier));
}

// The same token with another identifier, and the password for it if key is given.
std::string forged(const std::string& url_string, const TokenIdentifier& id,
                   const MasterKey* key = nullptr) {
  WireToken wire = got(WireToken::decode(url_string));
  wire.identifier = id.encode();
  if (key != nullptr) wire.password = got(token_password(key->secret.view(), wire.identifier));
  const Secret text = wire.encode();
  return std::string(as_text(text.view()));
}

std::string with_wrong_password(const std::string& url_string) {
  WireToken wire = got(WireToken::decode(url_string));
  wire.password.data()[19] ^= 1;
  const Secret text = wire.encode();
  return std::string(as_text(text.view()));
}

template <class T>
void assert_refused(const Result<T>& result, const std::string& text) {
  assert_false(result.ok());
  assert_true(result.error().kind == ErrorKind::authentication);
  assert_text(result.error().message, text);
}

// With "TIME" for each date.
template <class T>
void assert_refused_at(const Result<T>& result, const std::string& text) {
  assert_false(result.ok());
  assert_true(result.error().kind == ErrorKind::authentication);
  regex_t time;
  assert_int_equal(
      regcomp(&time, "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}[+-][0-9]{4}",
              REG_EXTENDED),
      0);
  std::string message = result.error().message;
  for (regmatch_t found; regexec(&time, message.c_str(), 1, &found, 0) == 0;)
    message.replace(static_cast<std::size_t>(found.rm_so),
                    static_cast<std::size_t>(found.rm_eo - found.rm_so), "TIME");
  regfree(&time);
  assert_text(message, text);
}

std::string in_words(const TokenIdentifier& id) {
  return "(" + id.text() + ")";
}

// Issued under other rules, by another node for instance.
void owners_without_a_short_name(void**) {
  Served served;
  for (const std::string name : {"alice@OTHER.REALM", "a/b/c@EXAMPLE.COM"}) {
    TokenManager::Request behind = Served::request_of("alice", "yarn");
    behind.real_user = name;
    for (const std::string& token : {served.issue(name, "yarn"), served.issue(behind)}) {
      const auto user = served.tokens->verify(token);
      assert_false(user.ok());
      assert_true(user.error().kind == ErrorKind::authentication);
      const std::string start =
          "java.lang.IllegalArgumentException: Illegal principal name " + name + ": ";
      assert_text(user.error().message.substr(0, start.size()), start);
      assert_false(served.tokens->cancel(token, "").ok());
    }
  }
}

void names_have_an_end(void**) {
  Served served;
  const std::string most(1024, 'n'), more(1025, 'n');
  TokenManager::Request request = Served::request_of(most, most);
  request.real_user = most;
  assert_true(served.tokens->verify(served.issue(request)).ok());
  for (std::string TokenManager::Request::*name :
       {&TokenManager::Request::owner, &TokenManager::Request::renewer,
        &TokenManager::Request::real_user}) {
    TokenManager::Request longer = request;
    longer.*name = more;
    const auto refused = served.tokens->issue(longer);
    assert_false(refused.ok());
    assert_true(refused.error().kind == ErrorKind::invalid_argument);
  }
}

void issued_tokens(void**) {
  Served served;
  const std::int64_t before = now_ms();
  TokenManager::Request request = Served::request_of("alice", "yarn");
  request.service = "my service";
  const std::string first = served.issue(request);
  const WireToken wire = got(WireToken::decode(first));
  assert_text(wire.kind, "kms-dt");
  assert_text(wire.service, "my service");
  const TokenIdentifier id = identifier_of(first);
  assert_text(id.owner, "alice");
  assert_text(id.renewer, "yarn");
  assert_text(id.real_user, "");
  assert_in_range(id.issue_ms, before, now_ms());
  assert_int_equal(id.max_ms, id.issue_ms + 604800000);
  assert_int_equal(id.sequence, 1);
  const TokenPtr stored = got(served.store->find(id));
  assert_int_equal(stored->renew_ms, id.issue_ms + 86400000);
  assert_true(stored->password.equals(wire.password.view()));
  const MasterKeyPtr key = got(served.store->key(id.master_key_id));
  assert_true(
      got(token_password(key->secret.view(), wire.identifier)).equals(wire.password.view()));

  request.real_user = "proxy";
  const TokenIdentifier second = identifier_of(served.issue(request));
  assert_text(second.real_user, "proxy");
  assert_int_equal(second.sequence, 2);
  assert_int_equal(second.master_key_id, id.master_key_id);
}

void renewers(void**) {
  Served served;
  assert_text(identifier_of(served.issue("alice", "yarn/rm.example.com@EXAMPLE.COM")).renewer,
              "yarn");
  assert_text(identifier_of(served.issue("alice", "rm@EXAMPLE.COM")).renewer, "rm");
  assert_text(identifier_of(served.issue("alice", "")).renewer, "");
  TokenManager::Request absent;
  absent.owner = "alice";
  assert_text(identifier_of(served.issue(absent)).renewer, "alice");
  for (const char* name : {"rm@ELSEWHERE", "a@b@c"}) {
    const auto refused = served.tokens->issue(Served::request_of("alice", name));
    assert_false(refused.ok());
    assert_true(refused.error().kind == ErrorKind::authentication);
    assert_contains(refused.error().message, name);
  }
}

void used_tokens(void**) {
  Served served;
  const std::string token = served.issue();
  TokenUser user = got(served.tokens->verify(token));
  assert_text(user.owner, "alice");
  assert_text(user.real_user, "");
  TokenManager::Request request = Served::request_of("alice", "yarn");
  request.real_user = "gateway";
  user = got(served.tokens->verify(served.issue(request)));
  assert_text(user.owner, "alice");
  assert_text(user.real_user, "gateway");
  request.real_user = "alice";
  assert_text(got(served.tokens->verify(served.issue(request))).real_user, "");
  // doAs may have had a full name.
  request = Served::request_of("bob@EXAMPLE.COM", "yarn");
  request.real_user = "gateway";
  assert_text(got(served.tokens->verify(served.issue(request))).owner, "bob");

  // Kind and service are the client's.
  WireToken wire = got(WireToken::decode(token));
  wire.kind = "other";
  wire.service = "kms://http@localhost:9600/kms";
  const Secret changed = wire.encode();
  assert_text(got(served.tokens->verify(as_text(changed.view()))).owner, "alice");
}

void refused_tokens(void**) {
  Served served;
  const std::string token = served.issue();
  const TokenIdentifier id = identifier_of(token);
  assert_refused(served.tokens->verify(""), "java.io.EOFException");
  assert_refused(served.tokens->verify(token.substr(0, 20)), "java.io.EOFException");
  assert_refused(served.tokens->verify("AQEAAAA"),
                 "java.io.IOException: Unknown version of delegation token 1");
  assert_refused(
      served.tokens->verify(with_wrong_password(token)),
      std::string(kInvalid) + "token " + in_words(id) + " is invalid, password doesn't match");
  // Another user's name in it, with whatever password.
  TokenIdentifier other = id;
  other.owner = "hdfs";
  other.real_user = "j\xff";
  assert_refused(
      served.tokens->verify(forged(token, other)),
      std::string(kInvalid) + "Token for real user: j\xef\xbf\xbd, can't be found in cache");
  assert_true(served.tokens->verify(token).ok());
  assert_true(got(served.store->renew(id, now_ms() - 1)));
  assert_refused_at(
      served.tokens->verify(token),
      std::string(kInvalid) + "Token  has expired, current time: TIME expected renewal time: TIME");
  assert_true(got(served.store->remove(id)));
  assert_refused(served.tokens->verify(token),
                 std::string(kInvalid) + "Token for real user: , can't be found in cache");
}

void renewals(void**) {
  TokenSettings settings;
  settings.max_lifetime_s = 100;
  settings.renew_interval_s = 60;
  Served served(settings);
  const std::string token = served.issue();
  const TokenIdentifier id = identifier_of(token);
  std::int64_t before = now_ms();
  std::int64_t until = got(served.tokens->renew(token, "yarn"));
  assert_in_range(until, before + 60000, now_ms() + 60000);
  assert_int_equal(got(served.store->find(id))->renew_ms, until);
  // One that has run out, but was not purged, comes to life again.
  assert_true(got(served.store->renew(id, before - 1)));
  assert_false(served.tokens->verify(token).ok());
  assert_true(served.tokens->renew(token, "yarn").ok());
  assert_true(served.tokens->verify(token).ok());
  // Never past the end.
  settings.renew_interval_s = 1000;
  TokenManager generous(served.journal.open(), settings, NameRules(), served.journal.log);
  done(generous.attach());
  assert_int_equal(got(generous.renew(token, "yarn")), id.max_ms);
}

// In the order of Hadoop's checks: each forged token fails in all that come later as well.
void refused_renewals(void**) {
  Served served;
  const std::string token = served.issue();
  const TokenIdentifier good = identifier_of(token);
  const MasterKeyPtr key = got(served.store->key(good.master_key_id));
  auto renew = [&](const TokenIdentifier& id, const MasterKey* with = nullptr) {
    return served.tokens->renew(forged(token, id, with), "bob");
  };
  TokenIdentifier id = good;
  id.max_ms = now_ms() - 1;
  id.renewer = "";
  id.master_key_id = 77;
  assert_refused_at(renew(id), std::string(kInvalid) + "bob tried to renew an expired token " +
                                   in_words(id) + " max expiration date: TIME currentTime: TIME");
  id.max_ms = good.max_ms;
  assert_refused(renew(id), std::string(kAccess) + "bob tried to renew a token " + in_words(id) +
                                " without a renewer");
  id.renewer = "yarn";
  assert_refused(renew(id), std::string(kAccess) + "bob tries to renew a token " + in_words(id) +
                                " with non-matching renewer yarn");
  id.renewer = "bob";
  assert_refused(renew(id), std::string(kInvalid) +
                                "Unable to find master key for keyId=77 from cache. Failed to "
                                "renew an unexpired token " +
                                in_words(id) + " with sequenceNumber=1");
  id.master_key_id = good.master_key_id;
  assert_refused(renew(id), std::string(kAccess) + "bob is trying to renew a token " +
                                in_words(id) + " with wrong password");
  assert_refused(renew(id, key.get()),
                 std::string(kInvalid) + "Renewal request for unknown token " + in_words(id));
  assert_refused(served.tokens->renew("", "bob"), "java.io.EOFException");
  assert_refused(served.tokens->renew(with_wrong_password(token), "yarn"),
                 std::string(kAccess) + "yarn is trying to renew a token " + in_words(good) +
                     " with wrong password");
  // A cancelled one.
  assert_true(got(served.store->remove(good)));
  assert_refused(served.tokens->renew(token, "yarn"),
                 std::string(kInvalid) + "Renewal request for unknown token " + in_words(good));
}

bool is_there(Served& served, const std::string& token) {
  return got(served.store->find(identifier_of(token))) != nullptr;
}

void cancelled_tokens(void**) {
  Served served;
  // By the owner, the renewer, and whoever holds it.
  for (const char* caller : {"alice", "yarn", ""}) {
    const std::string token = served.issue();
    done(served.tokens->cancel(token, caller));
    assert_false(is_there(served, token));
    assert_false(served.tokens->verify(token).ok());
    const auto again = served.tokens->cancel(token, caller);
    assert_false(again.ok());
    assert_true(again.error().kind == ErrorKind::authentication);
  }
  // The owner may cancel one that has run out.
  const std::string old = served.issue();
  assert_true(got(served.store->renew(identifier_of(old), now_ms() - 1)));
  assert_false(served.tokens->cancel(old, "").ok());
  done(served.tokens->cancel(old, "alice"));
}

void refused_cancels(void**) {
  Served served;
  const std::string token = served.issue(), unrenewable = served.issue("alice", "");
  auto refused = [&](const std::string& text, const std::string& caller) {
    const auto result = served.tokens->cancel(text, caller);
    assert_false(result.ok());
    assert_true(result.error().kind == ErrorKind::authentication);
  };
  refused(token, "bob");
  refused(unrenewable, "yarn");
  for (const char* caller : {"alice", "yarn", ""}) {
    refused("", caller);
    refused(token.substr(0, 30), caller);
    // Java takes this one from who has a cookie of the owner or the renewer.
    refused(with_wrong_password(token), caller);
    TokenIdentifier id = identifier_of(token);
    id.real_user = "gateway";
    refused(forged(token, id), caller);
  }
  assert_true(is_there(served, token));
  assert_true(is_there(served, unrenewable));
  assert_true(served.tokens->verify(token).ok());
}

void keys_roll_and_renewals_go_on(void**) {
  TokenSettings settings;
  settings.update_interval_s = 1;
  Served served(settings);
  const std::string old = served.issue();
  std::string fresh;
  for (const std::int64_t begin = steady_ms(); steady_ms() < begin + 5000;) {
    fresh = served.issue();
    if (identifier_of(fresh).master_key_id != identifier_of(old).master_key_id) break;
    ::usleep(50000);
  }
  assert_int_equal(identifier_of(fresh).master_key_id, identifier_of(old).master_key_id + 1);
  assert_true(served.tokens->renew(old, "yarn").ok());
  assert_true(served.tokens->renew(fresh, "yarn").ok());
  assert_true(served.tokens->verify(old).ok());
}

void purged_when_due(void**) {
  TokenSettings settings;
  settings.removal_scan_interval_s = 1;
  Served served(settings);
  const std::string over = served.issue(), valid = served.issue();
  assert_true(got(served.store->renew(identifier_of(over), now_ms() - 1)));
  const std::int64_t begin = steady_ms();
  while (is_there(served, over) && steady_ms() < begin + 5000) {
    served.tokens->poll();
    ::usleep(20000);
  }
  assert_false(is_there(served, over));
  assert_true(is_there(served, valid));
  assert_contains(served.journal.log.all(), "KMS0310 1 expired delegation tokens removed");
  // Not again before the interval is over.
  const std::string next = served.issue();
  assert_true(got(served.store->renew(identifier_of(next), now_ms() - 1)));
  served.tokens->poll();
  assert_true(is_there(served, next));
}

// A store that cannot be written is no reason to tell a client that his token is bad.
void store_out_of_reach(void**) {
  Served served({}, 50);
  const std::string token = served.issue();
  const int fd = ::open(served.journal.lock_path().c_str(), O_RDWR);
  assert_int_equal(::flock(fd, LOCK_EX), 0);
  const auto issued = served.tokens->issue(Served::request_of("alice", "yarn"));
  const auto renewed = served.tokens->renew(token, "yarn");
  const auto cancelled = served.tokens->cancel(token, "alice");
  assert_true(!issued.ok() && issued.error().kind == ErrorKind::unavailable);
  assert_true(!renewed.ok() && renewed.error().kind == ErrorKind::unavailable);
  assert_true(!cancelled.ok() && cancelled.error().kind == ErrorKind::unavailable);
  assert_true(served.tokens->verify(token).ok());
  ::close(fd);
  assert_true(served.tokens->renew(token, "yarn").ok());
}

void times(void**) {
  ::setenv("TZ", "Asia/Kolkata", 1);
  ::tzset();
  assert_text(token_time(1700000000123), "2023-11-15 03:43:20,123+0530");
  ::setenv("TZ", "America/New_York", 1);
  ::tzset();
  assert_text(token_time(1700000000000), "2023-11-14 17:13:20,000-0500");
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  assert_text(token_time(1795520868226), "2026-11-24 11:47:48,226+0000");
  assert_text(token_time(-1), "1969-12-31 23:59:59,999+0000");
  // Of a forged token; whatever it says, it is said without a crash.
  assert_false(token_time(std::numeric_limits<std::int64_t>::max()).empty());
  assert_false(token_time(std::numeric_limits<std::int64_t>::min()).empty());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(issued_tokens),
      cmocka_unit_test(renewers),
      cmocka_unit_test(used_tokens),
      cmocka_unit_test(refused_tokens),
      cmocka_unit_test(owners_without_a_short_name),
      cmocka_unit_test(names_have_an_end),
      cmocka_unit_test(renewals),
      cmocka_unit_test(refused_renewals),
      cmocka_unit_test(cancelled_tokens),
      cmocka_unit_test(refused_cancels),
      cmocka_unit_test(keys_roll_and_renewals_go_on),
      cmocka_unit_test(purged_when_due),
      cmocka_unit_test(store_out_of_reach),
      cmocka_unit_test(times),
  };
  return cmocka_run_group_tests_name("token manager", tests, nullptr, nullptr);
}
