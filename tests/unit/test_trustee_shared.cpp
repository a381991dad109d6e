// SPDX-License-Identifier: Apache-2.0
// What nodes share beside keys in a store in PostgreSQL: cookie secrets, tokens, master keys. On a
// real server, with its faults.
#include <set>

#include "auth/tokens/token_manager.h"
#include "crypto/base64.h"
#include "records/signer.h"
#include "records/token_store.h"
#include "token_store_checks.h"
#include "trustee_node.h"

namespace {

using namespace kms;
using Cut = unit::CuttingProxy::Cut;
using unit::done;
using unit::got;
using unit::has;
using unit::Node;
using unit::server;
using unit::token_of;

constexpr std::int64_t kHour = 3600 * 1000;
constexpr std::string_view kText = "u=alice&p=alice&t=simple&e=1";

void forget_all() {
  server->run("DELETE FROM kms_record");
  server->run("DELETE FROM kms_counter");
}

std::unique_ptr<TokenStore> tokens_of(Node& node) {
  auto store = make_record_token_store(*node->records(), node.lines);
  done(store->attach());
  return store;
}

std::unique_ptr<SignerSecrets> signer_of(Node& node, std::int64_t period_ms = kHour) {
  auto signer = got(make_record_signer(*node->records(), period_ms, node.lines));
  done(signer->attach());
  return signer;
}

std::string signature(SignerSecrets& secrets) {
  return base64_encode(got(secrets.sign(kText)));
}

TokenRecord lasting(std::int32_t number, std::int64_t ms = kHour) {
  return token_of(number, "alice", now_ms() + ms);
}

// What every store of tokens does; each view is one of the same node.
void a_token_store_like_all(void**) {
  Node node;
  unit::check_token_store([&] {
    forget_all();
    unit::good(node->invalidate("any"));
    // Rows were taken away behind the node's back.
    for (std::int64_t i = 0; i < 20; ++i)
      for (const std::string_view kind : {kToken, kTokenKey}) (void)node->records()->read(kind, i);
    return [&] { return tokens_of(node); };
  });
}

void tokens_cross_nodes(void**) {
  forget_all();
  Node one, two;
  const auto a = tokens_of(one), b = tokens_of(two);
  const TokenRecord token = lasting(1);
  const TokenIdentifier& id = token.identifier;
  done(a->add(lasting(1)));
  assert_true(got(b->find(id))->password.equals(token.password.view()));
  // Renewed, it is taken by a node that has it in memory as it was.
  const std::int64_t longer = now_ms() + 2 * kHour;
  assert_true(got(a->renew(id, longer)));
  assert_true(unit::eventually([&] { return got(b->find(id))->renew_ms == longer; }, 5000));
  assert_true(has(*a, id));  // from now on in its memory
  assert_true(got(b->remove(id)));
  assert_false(has(*b, id));
  const std::int64_t begin = steady_ms();
  assert_true(unit::eventually([&] { return !has(*a, id); }, 10000));
  print_message("cancelled on one node, refused by the other after %lld ms\n",
                static_cast<long long>(steady_ms() - begin));
  assert_false(got(a->renew(id, longer)));
  assert_false(got(a->remove(id)));
}

// A token that was over for a node's memory is looked up once more: it may have been renewed.
void what_seems_over_is_looked_up(void**) {
  forget_all();
  Node one, two(0, [](TrusteeOptions&o) { o.poll_ms = 900; });
  const auto a = tokens_of(one), b = tokens_of(two);
  const TokenIdentifier id = lasting(1).identifier;
  done(a->add(lasting(1, 150)));
  assert_true(has(*b, id));
  assert_true(got(a->renew(id, now_ms() + kHour)));
  assert_true(unit::eventually([&] { return got(b->find(id))->renew_ms > now_ms(); }, 5000));
}

// Each node sees the master key of the other, whoever comes first.
void nodes_that_race_agree_on_a_key(void**) {
  constexpr int kRounds = 8, kThreads = 4;
  Node one, two;
  for (int round = 0; round < kRounds; ++round) {
    forget_all();
    std::vector<std::unique_ptr<TokenStore>> stores;
    for (int i = 0; i < kThreads; ++i) stores.push_back(tokens_of(i % 2 == 0 ? one : two));
    std::vector<MasterKeyPtr> keys(kThreads);
    std::vector<std::thread> threads;
    // Another date in each round, so that no key of an earlier one would do.
    const std::int64_t now = 1700000000000 + round * 100 * kHour;
    for (std::size_t i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] { keys[i] = got(stores[i]->current_key(now, {kHour, kHour})); });
    for (auto& thread : threads) thread.join();
    for (const auto& key : keys) {
      assert_int_equal(key->id, keys[0]->id);
      assert_true(key->secret.equals(keys[0]->secret.view()));
    }
    unit::assert_text(server->run("SELECT COUNT(*) FROM kms_record WHERE kind = 'TokenKey'"), "1");
  }
}

void numbers_are_no_ones_twice(void**) {
  forget_all();
  Node one, two;
  const auto a = tokens_of(one), b = tokens_of(two);
  std::set<std::int32_t> seen;
  for (int i = 0; i < 250; ++i) {
    seen.insert(got(a->next_sequence()));
    seen.insert(got(b->next_sequence()));
  }
  assert_int_equal(seen.size(), 500);
  // A number that somebody else took is not overwritten.
  done(a->add(lasting(7)));
  assert_false(b->add(token_of(7, "mallory", now_ms() + kHour)).ok());
  assert_true(has(*b, lasting(7).identifier));
}

// --- cookie secrets

void cookies_cross(void**) {
  forget_all();
  Node one, two;
  const auto first = signer_of(one), second = signer_of(two);
  assert_true(second->verify(kText, signature(*first)));
  assert_true(first->verify(kText, signature(*second)));
  assert_false(first->verify("u=bob", signature(*second)));
  assert_true(one.lines.has("KMS0371") != two.lines.has("KMS0371"));
  // A restart goes on with the same.
  Node again;
  assert_true(signer_of(again)->verify(kText, signature(*first)));
}

void the_first_of_many_makes_the_secrets(void**) {
  for (int round = 0; round < 5; ++round) {
    forget_all();
    Node one, two;
    std::vector<std::unique_ptr<SignerSecrets>> signers(6);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < signers.size(); ++i)
      threads.emplace_back([&, i] { signers[i] = signer_of(i % 2 == 0 ? one : two); });
    for (auto& thread : threads) thread.join();
    const std::string signed_by_one = signature(*signers[0]);
    for (const auto& signer : signers) unit::assert_text(signature(*signer), signed_by_one);
  }
}

// All try at the same moment; at no time does one refuse what another has just signed.
void rolls_without_a_gap(void**) {
  forget_all();
  Node one, two;
  constexpr std::int64_t kPeriod = 1200;
  const auto first = signer_of(one, kPeriod), second = signer_of(two, kPeriod),
             third = signer_of(two, kPeriod);
  const std::string oldest = signature(*first);
  const std::int64_t begin = steady_ms();
  std::set<std::string> signatures;
  std::atomic<bool> stop{false};
  std::vector<std::thread> pollers;
  for (SignerSecrets* each : {first.get(), second.get(), third.get()})
    pollers.emplace_back([&stop, each] {
      while (!stop) {
        each->poll();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
  int refused = 0;
  while (steady_ms() < begin + 4 * kPeriod) {
    for (SignerSecrets* by : {first.get(), second.get(), third.get()}) {
      const std::string text = signature(*by);
      signatures.insert(text);
      for (SignerSecrets* to : {first.get(), second.get(), third.get()})
        refused += to->verify(kText, text) ? 0 : 1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  stop = true;
  for (auto& poller : pollers) poller.join();
  assert_int_equal(refused, 0);
  assert_in_range(signatures.size(), 3, 5);
  assert_false(first->verify(kText, oldest));
  assert_false(third->verify(kText, oldest));
  // One change for each roll, whoever tried.
  const auto changes =
      std::stoi(server->run("SELECT revision FROM kms_record WHERE kind = 'CookieSecrets'"));
  assert_in_range(changes, 3, 5);
}

void a_record_taken_away_leaves_cookies_good(void**) {
  forget_all();
  Node one;
  const auto first = signer_of(one);
  const std::string before = signature(*first);
  server->run("DELETE FROM kms_record");
  Node two;  // which has nothing in memory
  unit::good(one->invalidate("any"));
  (void)one->records()->read(kCookieSecrets, 0);
  {
    // As another node would tell: whatever is in memory goes.
    Node stranger;
    assert_true(got(stranger->records()->put(kCookieSecrets, {0, 1, 0, Secret("x")})));
    assert_true(got(stranger->records()->remove(kCookieSecrets, 0)));
  }
  assert_true(unit::eventually([&] {
    first->poll();
    return server->run("SELECT COUNT(*) FROM kms_record") == "1";
  }));
  assert_true(first->verify(kText, before));
  assert_true(signer_of(two)->verify(kText, before));
}

// --- seals

void every_field_is_bound(void**) {
  Node one;
  const auto spoil = [&](const std::string& change, const std::string& before = {}) {
    forget_all();
    const auto store = tokens_of(one);
    done(store->add(lasting(1)));
    done(store->add(token_of(2, "bob", now_ms() + kHour)));
    if (!before.empty()) server->run(before);
    server->run(change);
    Node fresh;
    auto found = tokens_of(fresh)->find(lasting(1).identifier);
    const bool refused = !found.ok() && found.error().kind == ErrorKind::unavailable;
    if (!refused) print_error("%s\n", change.c_str());
    assert_true(refused);
    assert_true(fresh.lines.has("KMS0134"));
    assert_true(fresh.lines.has("Token 1 of kms_record"));
    assert_int_equal(got(tokens_of(fresh)->purge(0)), 0);
  };
  spoil("UPDATE kms_record SET expires_ms = expires_ms + 1 WHERE number = 1");
  spoil("UPDATE kms_record SET revision = revision + 1 WHERE number = 1");
  spoil(
      "UPDATE kms_record SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)"
      " WHERE number = 1");
  spoil(
      "UPDATE kms_record SET wrapped_key = set_byte(wrapped_key, 20,"
      " get_byte(wrapped_key, 20) # 1) WHERE number = 1");
  spoil("UPDATE kms_record SET seal_id = 'file:other' WHERE number = 1");
  // Another token's row in the place of this one.
  spoil("UPDATE kms_record SET number = 1 WHERE kind = 'Token' AND number = 2",
        "DELETE FROM kms_record WHERE kind = 'Token' AND number = 1");
  spoil(
      "UPDATE kms_record a SET sealed = b.sealed, wrapped_key = b.wrapped_key FROM kms_record b"
      " WHERE a.number = 1 AND b.number = 2");
}

// No text of a token is in its row.
void nothing_can_be_read(void**) {
  forget_all();
  Node node;
  done(tokens_of(node)->add(lasting(1)));
  const auto signer = signer_of(node);
  unit::assert_text(server->run("SELECT COUNT(*) FROM kms_record WHERE"
                                " position('alice'::bytea in sealed) > 0 OR"
                                " position('password'::bytea in sealed) > 0"),
                    "0");
}

// --- faults

// Each change with one lost connection in its n-th statement is carried out once.
void connections_break_at_every_statement(void**) {
  forget_all();
  unit::CuttingProxy proxy(server->port());
  Node node(proxy.port()), other;
  const auto store = tokens_of(node), seen = tokens_of(other);
  std::int32_t number = 0;
  int struck = 0;
  for (const Cut how : {Cut::before, Cut::after}) {
    for (int n = 1;; ++n) {
      const TokenIdentifier id = lasting(++number).identifier;
      bool any = false;
      const auto cut = [&] { proxy.cut(n, how); };
      const auto was_cut = [&] { any = any || proxy.was_cut(); };
      cut();
      done(store->add(lasting(number)));
      was_cut();
      const std::int64_t until = now_ms() + 2 * kHour;
      cut();
      assert_true(got(store->renew(id, until)));
      was_cut();
      assert_true(got(seen->find(id))->renew_ms == until);
      unit::assert_text(server->run("SELECT revision FROM kms_record WHERE kind = 'Token'"), "2");
      cut();
      assert_true(got(store->remove(id)));
      was_cut();
      unit::assert_text(server->run("SELECT COUNT(*) FROM kms_record"), "0");
      proxy.cut(0, Cut::none);
      if (!any) break;
      ++struck;
    }
  }
  assert_true(struck >= 10);
}

// Cookies and known tokens go on, changes are refused and leave nothing, and all is well once the
// database is back.
void the_database_dies_and_comes_back(void**) {
  forget_all();
  const auto quick = [](TrusteeOptions& o) {
    o.timeout_ms = 1000;
    o.stale_reads_ms = 3000;
  };
  Node node(0, quick);
  const auto tokens = tokens_of(node);
  const auto signer = signer_of(node, 2000);
  const TokenIdentifier id = lasting(1).identifier;
  done(tokens->add(lasting(1)));
  assert_true(has(*tokens, id));
  const std::string cookie = signature(*signer);
  server->stop(SIGQUIT);
  assert_true(unit::eventually([&] { return tokens->condition().state != HealthState::good; }));
  assert_true(tokens->find(id).ok());
  assert_false(tokens->find(lasting(2).identifier).ok());
  assert_int_equal(signer->condition().state, HealthState::degraded);
  for (const ErrorKind kind :
       {tokens->add(lasting(3)).error().kind, tokens->remove(id).error().kind,
        tokens->renew(id, now_ms()).error().kind, tokens->purge(now_ms()).error().kind,
        tokens->current_key(now_ms(), {kHour, kHour}).error().kind})
    assert_int_equal(kind, ErrorKind::unavailable);
  // In time tokens are refused. Cookies are not, and the signer goes on to the next secret.
  assert_true(unit::eventually([&] { return !tokens->find(id).ok(); }));
  assert_int_equal(tokens->condition().state, HealthState::failing);
  std::string later;
  assert_true(unit::eventually([&] {
    signer->poll();
    return (later = signature(*signer)) != cookie;
  }));
  assert_true(signer->verify(kText, later));
  assert_int_equal(signer->condition().state, HealthState::degraded);
  assert_true(node.lines.has("KMS0370"));
  server->start();
  assert_true(unit::eventually([&] { return tokens->condition().state == HealthState::good; }));
  assert_true(has(*tokens, id));
  assert_false(has(*tokens, lasting(3).identifier));
  assert_true(got(tokens->remove(id)));
  signer->poll();
  assert_int_equal(signer->condition().state, HealthState::good);
  assert_true(signer->verify(kText, later));
  Node other;
  assert_true(signer_of(other, 2000)->verify(kText, later));
}

void without_a_database_there_is_no_cookie(void**) {
  forget_all();
  server->stop(SIGQUIT);
  Node node(0, [](TrusteeOptions& o) { o.timeout_ms = 500; });
  const auto signer = signer_of(node);
  assert_int_equal(signer->sign(kText).error().kind, ErrorKind::unavailable);
  assert_false(signer->verify(kText, std::string(44, 'A')));
  assert_int_equal(signer->condition().state, HealthState::failing);
  server->start();
  assert_true(unit::eventually([&] {
    signer->poll();
    return signer->sign(kText).ok();
  }));
  assert_int_equal(signer->condition().state, HealthState::good);
}

// A store of the version before gets its new tables, and keeps its keys.
void a_store_of_version_1_is_upgraded(void**) {
  {
    Node node;
    (void)unit::good(node->create("old", unit::aes(), nullptr));
  }
  server->run("DROP TABLE kms_record");
  server->run("DROP TABLE kms_counter");
  server->run("ALTER TABLE kms_seal DROP COLUMN state");
  server->run("DELETE FROM kms_schema WHERE version > 1");
  unit::Lines lines;
  const auto refused = open_trustee_store(server->uri(), server->options(), lines, true);
  assert_true(unit::contains(refused.error().message, "kmsctl store upgrade"));
  const auto status = got(upgrade_trustee_store(server->uri(), server->options(), false));
  assert_int_equal(status.version, status.newest);
  Node node;
  assert_non_null(unit::good(node->current_version("old")).get());
  done(tokens_of(node)->add(lasting(1)));
  assert_true(signer_of(node)->sign(kText).ok());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_token_store_like_all),
      cmocka_unit_test(tokens_cross_nodes),
      cmocka_unit_test(what_seems_over_is_looked_up),
      cmocka_unit_test(nodes_that_race_agree_on_a_key),
      cmocka_unit_test(numbers_are_no_ones_twice),
      cmocka_unit_test(cookies_cross),
      cmocka_unit_test(the_first_of_many_makes_the_secrets),
      cmocka_unit_test(rolls_without_a_gap),
      cmocka_unit_test(a_record_taken_away_leaves_cookies_good),
      cmocka_unit_test(every_field_is_bound),
      cmocka_unit_test(nothing_can_be_read),
      cmocka_unit_test(connections_break_at_every_statement),
      cmocka_unit_test(the_database_dies_and_comes_back),
      cmocka_unit_test(without_a_database_there_is_no_cookie),
      cmocka_unit_test(a_store_of_version_1_is_upgraded),
  };
  return unit::run_on_a_store(tests);
}
