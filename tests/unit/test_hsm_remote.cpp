// SPDX-License-Identifier: Apache-2.0
// A token behind p11-kit's server, as an HSM in the network: it dies and comes back under load. Its
// client forgets everything in a fork, writes into closed sockets, and knows no CTR.
#include <signal.h>

#include <atomic>

#include "core/clock.h"
#include "hsm_util.h"

using namespace kms;
using namespace kms::pkcs11;
using unit::aes_key;
using unit::assert_kind;
using unit::eventually;
using unit::Hsm;
using unit::Log;
using unit::need;

namespace {

void serves_and_checks(void**) {
  unit::require_token("remote");
  Hsm hsm("remote");
  Log log;
  // The check logs in in a process of its own: this one can still begin afterwards.
  assert_true(open_store(hsm.options(), log, true).ok());
  auto store = hsm.open(log);
  for (const int bits : {128, 192, 256}) {
    const std::string name = "k" + std::to_string(bits);
    need(store->create(name, aes_key(bits), nullptr));
    for (const Eek& eek : need(store->generate_eeks(name, 300)))
      assert_int_equal(need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material)).size() * 8,
                       bits);
  }
  store.reset();
  hsm.server->kill();
  assert_kind(open_store(hsm.options(), log, true), ErrorKind::configuration, "cannot be used");
}

// Killed with -9 while threads decrypt: nothing dies, nothing wrong is answered, and it is back
// without a new process.
void dies_under_load(void**) {
  unit::require_token("remote");
  Hsm hsm("remote");
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  const Eek eek = need(store->generate_eeks("k", 1))[0];
  const Secret dek = need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material));
  std::atomic<bool> stop{false};
  std::atomic<int> good{0}, refused{0}, bad{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      while (!stop) {
        auto got = store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material);
        if (got.ok())
          ++(got->equals(dek.view()) ? good : bad);
        else
          ++(got.error().kind == ErrorKind::unavailable ? refused : bad);
        if (!got.ok()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
  for (int round = 1; round <= 2; ++round) {
    const int before = good;
    assert_true(eventually([&] { return good > before + 200; }));
    hsm.server->kill();
    assert_true(
        eventually([&] { return log.count("KMS0141") >= static_cast<std::size_t>(round); }));
    const int refused_before = refused;
    assert_true(eventually([&] { return refused > refused_before; }));
    hsm.server->start();
    const std::int64_t restarted = steady_ms();
    const int then = good;
    assert_true(eventually([&] { return good > then + 50; }));
    print_message("round %d: %d good, %d refused, healthy %d ms after the restart\n", round,
                  good.load(), refused.load(), static_cast<int>(steady_ms() - restarted));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(bad.load(), 0);
  assert_true(store->condition().state == HealthState::good);
  need(store->roll("k", nullptr));
}

// The token is not there at the start of a process: it serves 503 and finds it later.
void comes_later(void**) {
  unit::require_token("remote");
  Hsm hsm("remote");
  hsm.server->kill();
  Log log;
  auto store = hsm.open(log);
  assert_kind(store->create("k", aes_key(), nullptr), ErrorKind::unavailable);
  assert_true(store->condition().state == HealthState::failing);
  hsm.server->start();
  assert_true(eventually([&] { return store->create("k", aes_key(), nullptr).ok(); }));
}

}  // namespace

int main() {
  ::signal(SIGPIPE, SIG_DFL);
  const CMUnitTest tests[] = {
      cmocka_unit_test(serves_and_checks),
      cmocka_unit_test(dies_under_load),
      cmocka_unit_test(comes_later),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
