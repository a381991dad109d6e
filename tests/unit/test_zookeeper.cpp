// SPDX-License-Identifier: Apache-2.0
// The signer and the token store against a real ZooKeeper server. Exits with 77, skipped, without
// KMS_TEST_ZOOKEEPER=HOST:PORT; see tests/interop/zookeeper.
#include <atomic>
#include <cstring>
#include <memory>
#include <set>

#include "crypto/base64.h"
#include "zookeeper/codec.h"
#include "zookeeper/signer.h"
#include "zookeeper/token_store.h"
#include "zookeeper_util.h"

using namespace kms;
using namespace std::chrono_literals;
using unit::eventually;
using unit::Lines;
using unit::Peer;
using Server = unit::ZooKeeperServer;

namespace {

constexpr std::int64_t kHour = 3600 * 1000;
constexpr std::string_view kText = "u=alice&p=alice&t=simple-dt&e=1900000000000";

std::unique_ptr<SignerSecrets> signer_of(const ZooKeeperOptions& options, std::int64_t period,
                                         Lines& lines) {
  auto signer = make_zookeeper_signer(options, period, lines);
  assert_true(signer.ok());
  assert_true((*signer)->attach().ok());
  return std::move(*signer);
}

std::string signature(SignerSecrets& secrets) {
  const auto mac = secrets.sign(kText);
  assert_true(mac.ok());
  return base64_encode(*mac);
}

// --- cookie secrets

void cookies_cross(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("signer") + "/deeper/secret";
  const auto first = signer_of(Server::node(1, path), kHour, lines);
  const auto second = signer_of(Server::node(2, path), kHour, lines);
  assert_true(second->verify(kText, signature(*first)));
  assert_true(first->verify(kText, signature(*second)));
  assert_false(first->verify("u=bob", signature(*second)));
  assert_int_equal(lines.count("KMS0342"), 1);
  Peer peer;
  assert_int_equal(peer.get(path).data.size(), 4 + 4 + 32 + 4 + 32 + 4 + 8);
}

// Both nodes roll; at no time does one refuse what the other has just signed.
void rolls_without_a_gap(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("roll");
  constexpr std::int64_t kPeriod = 1500;
  const auto first = signer_of(Server::node(1, path), kPeriod, lines);
  const auto second = signer_of(Server::node(2, path), kPeriod, lines);
  const std::string oldest = signature(*first);
  const std::int64_t begin = steady_ms();
  std::set<std::string> signatures;
  while (unit::elapsed_ms(begin) < 5 * kPeriod) {
    const std::string one = signature(*first), two = signature(*second);
    assert_true(second->verify(kText, one));
    assert_true(first->verify(kText, two));
    signatures.insert(one);
    std::this_thread::sleep_for(5ms);
  }
  assert_in_range(signatures.size(), 5, 6);
  assert_false(first->verify(kText, oldest));
  assert_false(second->verify(kText, oldest));
  Peer peer;
  // One write for each roll, though two nodes tried.
  assert_in_range(peer.get(path).version, 4, 6);
}

zookeeper::SignerSecretsData data_of(std::string_view next, std::string_view current,
                                     std::string_view previous, std::int64_t rollover_ms) {
  zookeeper::SignerSecretsData data;
  data.next = Secret(next);
  data.current = Secret(current);
  data.previous = Secret(previous);
  data.rollover_ms = rollover_ms;
  return data;
}

std::string signed_by(std::string_view secret) {
  return signature(*make_fixed_signer(Secret(secret)));
}

// A Java node whose clock is early rolls before us; it is followed, and not rolled once more.
void follows_another_node(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("follow");
  Peer peer;
  const std::int64_t now = now_ms();
  peer.put(path, zookeeper::encode_signer(data_of("N", "C", "P", now + kHour)).view());
  const auto signer = signer_of(Server::node(1, path), 2 * kHour, lines);
  for (const char* secret : {"N", "C", "P"}) assert_true(signer->verify(kText, signed_by(secret)));
  assert_false(signer->verify(kText, signed_by("X")));

  peer.put(path, zookeeper::encode_signer(data_of("O", "N", "C", now + 3 * kHour)).view());
  assert_true(eventually(1s, [&] { return signer->verify(kText, signed_by("O")); }));
  assert_true(signer->verify(kText, signed_by("N")));
  assert_true(signer->verify(kText, signed_by("C")));
  assert_false(signer->verify(kText, signed_by("P")));
  // For a moment by the one that a node with a late clock knows too, then by the new one.
  unit::assert_text(signature(*signer), signed_by("C"));
  assert_true(eventually(3s, [&] { return signature(*signer) == signed_by("N"); }));
  assert_int_equal(peer.get(path).version, 1);
}

// Java leaves a date behind that is long over; the phase counts.
void keeps_the_phase_of_an_old_date(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("phase");
  Peer peer;
  const std::int64_t now = now_ms();
  peer.put(path, zookeeper::encode_signer(data_of("N", "C", "", now - 10 * 4000 + 3000)).view());
  const auto signer = signer_of(Server::node(1, path), 4000, lines);
  std::this_thread::sleep_for(std::chrono::milliseconds(2500 - (now_ms() - now)));
  assert_int_equal(peer.get(path).version, 0);
  assert_true(eventually(1500ms, [&] { return peer.get(path).version == 1; }));
  const auto rolled = zookeeper::decode_signer(peer.get(path).data.view());
  assert_true(rolled->current.equals(as_bytes("N")));
  assert_true(rolled->previous.equals(as_bytes("C")));
  assert_true(rolled->rollover_ms == now + 3000 + 4000);
}

void damaged_and_deleted_nodes(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("damage");
  Peer peer;
  peer.put(path, as_bytes("no secrets"));
  auto options = Server::node(1, path);
  options.connection_timeout_ms = 200;  // of attach()
  const auto signer = signer_of(options, kHour, lines);
  assert_true(signer->sign(kText).error().kind == ErrorKind::unavailable);
  assert_false(signer->verify(kText, signed_by("C")));
  assert_int_equal(lines.count("KMS0341"), 1);

  peer.put(path, zookeeper::encode_signer(data_of("N", "C", "P", now_ms() + kHour)).view());
  assert_true(eventually(2s, [&] { return signer->sign(kText).ok(); }));
  // What was read once serves on, whatever becomes of the node.
  peer.put(path, as_bytes("again none"));
  assert_true(eventually(2s, [&] { return lines.count("KMS0341") == 2; }));
  assert_true(signer->verify(kText, signature(*signer)));
  assert_true(signer->verify(kText, signed_by("C")));
  peer.put(path, zookeeper::encode_signer(data_of("N", "C", "P", now_ms() + kHour)).view());
  peer.remove(path);
  assert_true(eventually(3s, [&] { return peer.get(path).ok(); }));
  assert_true(zookeeper::decode_signer(peer.get(path).data.view())->current.equals(as_bytes("C")));
}

// --- tokens

constexpr KeyPolicy kPolicy{kHour, 7 * kHour};

std::unique_ptr<TokenStore> store_of(const ZooKeeperOptions& options, Lines& lines) {
  auto store = make_zookeeper_token_store(options, lines);
  assert_true(store.ok());
  assert_true((*store)->attach().ok());
  return std::move(*store);
}

TokenRecord token_of(TokenStore& store, const char* owner = "alice") {
  const auto key = store.current_key(now_ms(), kPolicy);
  if (!key.ok()) print_message("%s\n", key.error().message.c_str());
  assert_true(key.ok());
  const auto sequence = store.next_sequence();
  assert_true(sequence.ok());
  TokenRecord token;
  token.identifier.owner = owner;
  token.identifier.renewer = "yarn";
  token.identifier.issue_ms = now_ms();
  token.identifier.max_ms = token.identifier.issue_ms + kPolicy.max_lifetime_ms;
  token.identifier.sequence = *sequence;
  token.identifier.master_key_id = (*key)->id;
  token.renew_ms = token.identifier.issue_ms + kHour;
  token.password = std::move(*token_password((*key)->secret.view(), token.identifier.encode()));
  return token;
}

TokenIdentifier add(TokenStore& store, std::int64_t renew_ms = 0) {
  TokenRecord token = token_of(store);
  if (renew_ms != 0) token.renew_ms = renew_ms;
  TokenIdentifier identifier = token.identifier;
  assert_true(store.add(std::move(token)).ok());
  return identifier;
}

bool knows(TokenStore& store, const TokenIdentifier& identifier) {
  const auto found = store.find(identifier);
  return found.ok() && *found != nullptr;
}

void tokens_cross(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("tokens");
  const auto first = store_of(Server::node(1, path), lines);
  const auto second = store_of(Server::node(2, path), lines);
  const TokenRecord made = token_of(*first);
  TokenRecord copy;
  copy.identifier = made.identifier;
  copy.renew_ms = made.renew_ms;
  copy.password = made.password.clone();
  assert_true(first->add(std::move(copy)).ok());

  for (TokenStore* store : {first.get(), second.get(), second.get()}) {
    const auto found = store->find(made.identifier);
    assert_true(found.ok() && *found != nullptr);
    assert_true((*found)->identifier == made.identifier);
    assert_true((*found)->renew_ms == made.renew_ms);
    assert_true((*found)->password.equals(made.password.view()));
  }
  TokenIdentifier other = made.identifier;
  other.owner = "mallory";
  assert_false(knows(*first, other));
  assert_false(*first->renew(other, 1));
  assert_false(*second->remove(other));

  const std::int64_t later = made.renew_ms + kHour;
  assert_true(*second->renew(made.identifier, later));
  assert_true((*second->find(made.identifier))->renew_ms == later);
  assert_true(eventually(1s, [&] { return (*first->find(made.identifier))->renew_ms == later; }));

  assert_true(*first->remove(made.identifier));
  assert_false(knows(*first, made.identifier));
  assert_true(eventually(1s, [&] { return !knows(*second, made.identifier); }));
  assert_false(*second->remove(made.identifier));
  assert_false(*second->renew(made.identifier, later));
}

void nodes_share_keys(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("keys");
  const auto first = store_of(Server::node(1, path), lines);
  const auto second = store_of(Server::node(2, path), lines);
  const std::int64_t now = now_ms();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, store = (i % 2 == 0 ? first : second).get()] {
      const auto key = store->current_key(now, kPolicy);
      if (!key.ok() || (*key)->id != 1) ++wrong;
    });
  for (auto& thread : threads) thread.join();
  assert_int_equal(wrong.load(), 0);
  assert_true((*first->key(1))->expires_ms == now + kPolicy.update_interval_ms + 7 * kHour);
  assert_true((*second->key(1))->secret.equals((*first->key(1))->secret.view()));
  assert_null(first->key(77)->get());

  // Its time to make tokens is over: the next one; and later the first is dropped.
  assert_int_equal((*first->current_key(now + kHour + 1, kPolicy))->id, 2);
  assert_int_equal((*second->current_key(now + kHour + 1, kPolicy))->id, 2);
  assert_int_equal((*second->current_key(now + 9 * kHour, kPolicy))->id, 3);
  assert_true(eventually(1s, [&] { return first->key(1)->get() == nullptr; }));
}

// A Java node retires its key by giving it an earlier end, and counts ids on in two steps.
void java_rolls_its_key(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("javakey");
  Peer peer;
  const auto store = store_of(Server::node(1, path), lines);
  const std::int64_t now = now_ms();
  MasterKey key;
  key.id = 5;
  key.expires_ms = now + 8 * kHour;
  key.secret = Secret(as_bytes("8 bytes."));
  const std::string root = path + "/ZKDTSMRoot";
  peer.put(root + "/ZKDTSMKeyIdRoot", zookeeper::encode_count(5).view());
  peer.put(root + "/ZKDTSMMasterKeyRoot/DK_5", zookeeper::encode_master_key(key).view());
  assert_int_equal((*store->current_key(now, kPolicy))->id, 5);
  key.expires_ms = now + 7 * kHour - 1;
  peer.put(root + "/ZKDTSMMasterKeyRoot/DK_5", zookeeper::encode_master_key(key).view());
  assert_true(eventually(1s, [&] { return (*store->current_key(now, kPolicy))->id == 6; }));
  // For renewals it is still there.
  assert_true((*store->key(5))->secret.equals(as_bytes("8 bytes.")));
  // A node that was set back, and rubbish beside the keys: worked around.
  peer.put(root + "/ZKDTSMKeyIdRoot", zookeeper::encode_count(4).view());
  peer.put(root + "/ZKDTSMMasterKeyRoot/DK_9", as_bytes(""));
  assert_int_equal((*store->current_key(now + 2 * kHour, kPolicy))->id, 7);
  assert_true(lines.count("KMS0350") > 0);
}

void numbers_are_unique(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("numbers");
  auto options = Server::node(1, path), others = Server::node(2, path);
  options.sequence_batch = others.sequence_batch = 7;
  const auto first = store_of(options, lines), second = store_of(others, lines);
  std::mutex mutex;
  std::set<std::int32_t> numbers;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&, store = (i % 2 == 0 ? first : second).get()] {
      for (int n = 0; n < 50; ++n) {
        const auto number = store->next_sequence();
        if (!number.ok()) return;
        const std::lock_guard lock(mutex);
        numbers.insert(*number);
      }
    });
  for (auto& thread : threads) thread.join();
  assert_int_equal(numbers.size(), 300);
  assert_int_equal(*numbers.begin(), 1);
  Peer peer;
  const auto count =
      zookeeper::decode_count(peer.get(path + "/ZKDTSMRoot/ZKDTSMSeqNumRoot").data.view());
  assert_true(*count % 7 == 0 && *count >= *numbers.rbegin());
}

void purge_takes_what_is_over(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("purge");
  const auto first = store_of(Server::node(1, path), lines);
  const auto second = store_of(Server::node(2, path), lines);
  const std::int64_t now = now_ms();
  assert_int_equal(*first->purge(now), 0);
  const TokenIdentifier old = add(*first, now - 1), renewed = add(*first, now + 10),
                        young = add(*first, now + kHour);
  assert_true(knows(*second, old));
  assert_int_equal(*first->purge(now), 1);
  assert_true(eventually(1s, [&] { return !knows(*second, old); }));
  // The first has seen its date and is wrong about it by now.
  assert_true(*second->renew(renewed, now + kHour));
  assert_int_equal(*first->purge(now + 11), 0);
  assert_true(knows(*first, renewed));
  Peer peer;
  peer.put(path + "/ZKDTSMRoot/ZKDTSMTokensRoot/DT_999", as_bytes("rubbish"));
  assert_int_equal(*second->purge(now + kHour + 1), 2);
  assert_int_equal(lines.count("KMS0352"), 1);
  assert_false(knows(*first, young) && knows(*first, renewed));
  assert_int_equal(peer.children(path + "/ZKDTSMRoot/ZKDTSMTokensRoot").size(), 1);
}

void without_watches_each_look_is_fresh(void**) {
  Lines lines;
  const std::string path = Server::fresh_path("nowatch");
  auto options = Server::node(1, path);
  options.watch_tokens = false;
  const auto first = store_of(options, lines);
  const auto second = store_of(Server::node(2, path), lines);
  const TokenIdentifier token = add(*second);
  assert_true(knows(*first, token));
  assert_true(*second->remove(token));
  assert_false(knows(*first, token));
}

void options_that_do_not_work(void**) {
  Lines lines;
  auto options = Server::node(1, "/x");
#ifndef HAVE_ZOOKEEPER_SASL
  options.sasl = true;
  const auto sasl = make_zookeeper_signer(options, kHour, lines);
  assert_true(sasl.error().kind == ErrorKind::configuration);
  assert_non_null(std::strstr(sasl.error().message.c_str(), "zookeeper.auth.type"));
  options.sasl = false;
#endif
#ifndef HAVE_ZOOKEEPER_SSL
  options.ssl = true;
  const auto ssl = make_zookeeper_token_store(options, lines);
  assert_true(ssl.error().kind == ErrorKind::configuration);
  assert_non_null(std::strstr(ssl.error().message.c_str(), "zk-dt-secret-manager.ssl.enabled"));
  options.ssl = false;
#else
  options.ssl = true;
  options.truststore = "/etc/passwd";
  auto store = make_zookeeper_token_store(options, lines);
  assert_non_null(std::strstr(store.error().message.c_str(), "ssl.truststore.location"));
  assert_non_null(std::strstr(store.error().message.c_str(), "is no PEM file"));
  options.ssl = false;
#endif
  assert_true(make_zookeeper_signer(options, 0, lines).error().kind == ErrorKind::configuration);
}

}  // namespace

int main() {
  if (!Server::available()) {
    std::puts("skipped: KMS_TEST_ZOOKEEPER is not set");
    return 77;
  }
  const CMUnitTest tests[] = {
      cmocka_unit_test(cookies_cross),
      cmocka_unit_test(rolls_without_a_gap),
      cmocka_unit_test(follows_another_node),
      cmocka_unit_test(keeps_the_phase_of_an_old_date),
      cmocka_unit_test(damaged_and_deleted_nodes),
      cmocka_unit_test(tokens_cross),
      cmocka_unit_test(nodes_share_keys),
      cmocka_unit_test(java_rolls_its_key),
      cmocka_unit_test(numbers_are_unique),
      cmocka_unit_test(purge_takes_what_is_over),
      cmocka_unit_test(without_watches_each_look_is_fresh),
      cmocka_unit_test(options_that_do_not_work),
  };
  return cmocka_run_group_tests_name("zookeeper", tests, nullptr, nullptr);
}
