// SPDX-License-Identifier: Apache-2.0
// A real ZooKeeper server that is frozen, crashes, is away, forgets a session: calls come back in
// time, and everything goes on by itself. Exits with 77, skipped, without KMS_TEST_ZOOKEEPER.
#include <atomic>
#include <memory>

#include "crypto/base64.h"
#include "zookeeper/signer.h"
#include "zookeeper/token_store.h"
#include "zookeeper_util.h"

using namespace kms;
using namespace std::chrono_literals;
using unit::elapsed_ms;
using unit::eventually;
using unit::Lines;
using unit::Peer;
using Server = unit::ZooKeeperServer;

namespace {

constexpr std::int64_t kHour = 3600 * 1000;
constexpr std::int64_t kLongestCall = 4600;  // the limit of a call is 4 s
constexpr KeyPolicy kPolicy{kHour, 7 * kHour};

std::unique_ptr<TokenStore> store_of(const ZooKeeperOptions& options, Lines& lines) {
  auto store = make_zookeeper_token_store(options, lines);
  assert_true(store.ok());
  assert_true((*store)->attach().ok());
  return std::move(*store);
}

TokenIdentifier add(TokenStore& store) {
  const auto key = store.current_key(now_ms(), kPolicy);
  const auto sequence = store.next_sequence();
  assert_true(key.ok() && sequence.ok());
  TokenRecord token;
  token.identifier.owner = "alice";
  token.identifier.issue_ms = now_ms();
  token.identifier.sequence = *sequence;
  token.identifier.master_key_id = (*key)->id;
  token.renew_ms = now_ms() + kHour;
  token.password = Secret(as_bytes("password"));
  TokenIdentifier identifier = token.identifier;
  assert_true(store.add(std::move(token)).ok());
  return identifier;
}

bool knows(TokenStore& store, const TokenIdentifier& identifier) {
  const auto found = store.find(identifier);
  return found.ok() && *found != nullptr;
}

bool unavailable(TokenStore& store, const TokenIdentifier& identifier) {
  const auto found = store.find(identifier);
  return !found.ok() && found.error().kind == ErrorKind::unavailable;
}

void a_frozen_server(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("frozen");
  const auto store = store_of(Server::node(1, path), lines);
  const auto other = store_of(Server::node(2, path), lines);
  const TokenIdentifier used = add(*store), unused = add(*store);
  assert_true(knows(*store, used));

  Server::freeze();
  // What was used before goes on, at once.
  std::int64_t begin = steady_ms();
  assert_true(knows(*store, used));
  assert_true(elapsed_ms(begin) < 50);
  // What it would have to be asked for is not decided, and does not hold up a thread for long.
  begin = steady_ms();
  assert_true(unavailable(*store, unused));
  assert_true(elapsed_ms(begin) < kLongestCall);
  for (int i = 0; i < 5; ++i) {
    begin = steady_ms();
    assert_true(unavailable(*store, unused));
    assert_true(elapsed_ms(begin) < 2500);
  }
  begin = steady_ms();
  assert_false(store->renew(used, now_ms() + kHour).ok());
  assert_false(store->next_sequence().ok() && store->remove(used).ok());
  assert_true(elapsed_ms(begin) < 3 * kLongestCall);
  assert_true(knows(*store, used));
  Server::thaw();

  assert_true(eventually(10s, [&] { return knows(*store, unused) && knows(*other, unused); }));
  // The session was lost for sure, after a freeze of more than its time; watches are set anew.
  assert_true(*other->remove(used));
  assert_true(eventually(2s, [&] { return !knows(*store, used); }));
}

// Calls that come during a restart are borne by waiting.
void a_server_that_restarts(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("restart");
  const auto store = store_of(Server::node(1, path), lines);
  const TokenIdentifier token = add(*store);
  assert_true(knows(*store, token));
  Server::crash();
  int failed = 0;
  std::int64_t longest = 0;
  const std::int64_t begin = steady_ms();
  while (elapsed_ms(begin) < 6000) {
    assert_true(knows(*store, token));
    const std::int64_t call = steady_ms();
    const auto renewed = store->renew(token, now_ms() + kHour);
    longest = std::max(longest, elapsed_ms(call));
    if (!renewed.ok()) ++failed;
    if (renewed.ok()) assert_true(*renewed);
    // The cache dropped it; it can only be read again from the server.
    if (!eventually(10s, [&] { return knows(*store, token); })) _fail(lines.text().c_str(), 0);
    std::this_thread::sleep_for(20ms);
  }
  print_message("restart: %d calls failed, the longest took %d ms\n", failed,
                static_cast<int>(longest));
  assert_true(longest < kLongestCall);
  assert_true(knows(*store, add(*store)));
}

void away_at_the_start(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("start");
  Server::take_down();
  auto signer = make_zookeeper_signer(Server::node(1, path + "-s"), kHour, lines);
  auto store = make_zookeeper_token_store(Server::node(1, path), lines);
  const std::int64_t begin = steady_ms();
  assert_true((*signer)->attach().ok());
  assert_true((*store)->attach().ok());
  assert_true(elapsed_ms(begin) < 4000);
  assert_true((*signer)->sign("x").error().kind == ErrorKind::unavailable);
  assert_false((*signer)->verify("x", std::string(44, 'A')));
  TokenIdentifier nobody;
  nobody.sequence = 1;
  const std::int64_t call = steady_ms();
  assert_true(unavailable(**store, nobody));
  assert_false((*store)->current_key(now_ms(), kPolicy).ok());
  assert_true(elapsed_ms(call) < 100);  // it is known to be away
  assert_true(eventually(3s, [&] { return lines.count("KMS0334") > 0; }));
  Server::bring_up();
  assert_true(eventually(15s, [&] { return (*signer)->sign("x").ok(); }));
  assert_true(knows(**store, add(**store)));
}

void cookies_while_it_is_away(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("cookies");
  constexpr std::int64_t kPeriod = 1000;
  auto first = make_zookeeper_signer(Server::node(1, path), kPeriod, lines);
  auto second = make_zookeeper_signer(Server::node(2, path), kPeriod, lines);
  assert_true((*first)->attach().ok() && (*second)->attach().ok());
  const auto agree = [&](std::int64_t ms) {
    const std::int64_t begin = steady_ms();
    while (elapsed_ms(begin) < ms) {
      const auto one = (*first)->sign("x"), two = (*second)->sign("x");
      assert_true(one.ok() && two.ok());
      assert_true((*second)->verify("x", base64_encode(*one)));
      assert_true((*first)->verify("x", base64_encode(*two)));
      std::this_thread::sleep_for(5ms);
    }
  };
  agree(500);
  Server::take_down();
  agree(3500);  // over three roll-overs
  Server::bring_up();
  agree(4000);
  // And they roll again.
  const auto before = (*first)->sign("x");
  agree(2500);
  assert_false((*first)->verify("x", base64_encode(*before)));
}

// What is cancelled while a session is gone must not live on in memory.
void a_session_that_expires(void**) {
  Lines lines, other_lines;
  const std::string path = Server::fresh_path("expired");
  const auto store = store_of(Server::node(1, path), lines);
  const TokenIdentifier token = add(*store), kept = add(*store);
  assert_true(knows(*store, token) && knows(*store, kept));
  // The server notices that it heard nothing for so long, and ends all sessions.
  bool expired = false;
  for (int i = 0; i < 4 && !expired; ++i) {
    Server::freeze();
    std::this_thread::sleep_for(4s);
    Server::thaw();
    expired = eventually(6s, [&] { return lines.count("KMS0331") > 0; });
  }
  assert_true(expired);
  const auto other = store_of(Server::node(3, path), other_lines);
  assert_true(eventually(5s, [&] { return other->remove(token).ok(); }));
  assert_true(eventually(5s, [&] { return !knows(*store, token) && knows(*store, kept); }));
  assert_true(*other->remove(kept));
  assert_true(eventually(2s, [&] { return !knows(*store, kept); }));
}

void an_address_that_is_none(void**) {
  Lines lines;
  auto options = Server::node(1, "/x");
  options.connection_string = "no-such-host.invalid:2181";
  options.connection_timeout_ms = 300;
  auto signer = make_zookeeper_signer(options, kHour, lines);
  assert_true((*signer)->attach().ok());
  assert_false((*signer)->sign("x").ok());
  assert_true(eventually(20s, [&] { return lines.count("KMS0333") + lines.count("KMS0334") > 0; }));
}

}  // namespace

int main() {
  if (!Server::available()) {
    std::puts("skipped: KMS_TEST_ZOOKEEPER is not set");
    return 77;
  }
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_frozen_server),        cmocka_unit_test(a_server_that_restarts),
      cmocka_unit_test(away_at_the_start),      cmocka_unit_test(cookies_while_it_is_away),
      cmocka_unit_test(a_session_that_expires), cmocka_unit_test(an_address_that_is_none),
  };
  return cmocka_run_group_tests_name("zookeeper_faults", tests, nullptr, nullptr);
}
