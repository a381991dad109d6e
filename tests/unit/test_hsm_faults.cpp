// SPDX-License-Identifier: Apache-2.0
// A library that hangs, loses its token, or gives few sessions; how many calls requests cost.
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

struct FaultyHsm : Hsm {
  StoreOptions options() const {
    StoreOptions out = Hsm::options();
    out.hsm.library = HSM_FAULT_MODULE;
    out.hsm.timeout_ms = 1500;
    return out;
  }
  std::unique_ptr<KeyStore> open(Log& log) const { return Hsm::open(log, options()); }
};

bool serves(KeyStore& store) {
  return store.generate_eeks("k", 1).ok();
}

void calls_of_requests(void**) {
  unit::require_token();
  FaultyHsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  need(store->generate_eeks("k", 1));  // has found the object
  const auto cost = [&](auto&& request) {
    const std::size_t before = hsm.calls();
    request();
    return hsm.calls() - before;
  };
  std::vector<Eek> eeks;
  assert_int_equal(cost([&] { eeks = need(store->generate_eeks("k", 100)); }), 1);
  assert_int_equal(cost([&] { need(store->generate_eeks("k", 257)); }), 2);  // 4 KiB a call
  const VersionPtr fresh = need(store->roll("k", nullptr));
  need(store->generate_eeks("k", 1));
  std::vector<WrappedDek> batch;
  for (const Eek& eek : eeks) batch.push_back({Bytes(eek.iv.begin(), eek.iv.end()), eek.material});
  assert_int_equal(cost([&] { need(store->reencrypt_eeks(eeks[0].wrapped_by, fresh, batch)); }), 2);
}

// While one call is held every other request of its key waits, and then they share calls.
void decrypts_share_calls(void**) {
  unit::require_token();
  FaultyHsm hsm;
  Log log;
  StoreOptions options = hsm.options();
  options.hsm.sessions = 1;
  options.hsm.timeout_ms = 20000;
  auto store = Hsm::open(log, options);
  need(store->create("k", aes_key(), nullptr));
  const Eek eek = need(store->generate_eeks("k", 1))[0];
  const Secret dek = need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material));
  hsm.fault("hold");
  const std::size_t before = hsm.calls();
  std::vector<std::thread> threads;
  std::atomic<int> begun{0}, good{0};
  const auto decrypt = [&] {
    ++begun;
    auto got = store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material);
    good += got.ok() && got->equals(dek.view());
  };
  threads.emplace_back(decrypt);
  assert_true(eventually([&] { return hsm.calls() == before + 1; }));
  for (int i = 0; i < 20; ++i) threads.emplace_back(decrypt);
  assert_true(eventually([&] { return begun == 21; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // they are queueing by now
  hsm.heal("hold");
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(good.load(), 21);
  assert_true(hsm.calls() - before < 10);
}

void hanging_library(void**) {
  unit::require_token();
  FaultyHsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  assert_true(serves(*store));
  hsm.fault("hold");
  // As many as there are sessions hang; who comes later is refused at once.
  std::vector<std::thread> threads;
  std::atomic<int> unavailable{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      auto got = store->generate_eeks("k", 1);
      unavailable +=
          !got.ok() && got.error().kind == ErrorKind::unavailable && got.error().retry_after_s > 0;
    });
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(unavailable.load(), 8);
  assert_int_equal(log.count("KMS0143"), 1);
  assert_true(store->condition().state == HealthState::failing);
  // Coalescing may have left sessions free; each takes one more request.
  assert_true(eventually([&] {
    const std::int64_t before = steady_ms();
    assert_kind(store->generate_eeks("k", 1), ErrorKind::unavailable);
    return steady_ms() - before < 500;
  }));
  assert_kind(store->create("other", aes_key(), nullptr), ErrorKind::unavailable);
  hsm.heal("hold");
  assert_true(eventually([&] { return serves(*store); }));
  assert_true(eventually([&] { return store->condition().state == HealthState::good; }));
  assert_int_equal(log.count("KMS0144"), 1);
}

// A process ends although its library hangs.
void ends_while_hanging(void**) {
  unit::require_token();
  FaultyHsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  hsm.fault("hold");
  assert_kind(store->generate_eeks("k", 1), ErrorKind::unavailable, "did not come within");
  const std::int64_t before = steady_ms();
  store.reset();
  assert_true(steady_ms() - before < 10000);
  hsm.heal("hold");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the thread comes back, and ends
  need(Library::load(HSM_FAULT_MODULE))->C_Finalize(nullptr);   // for the next test
}

// An outcome of the library that means loss: the request is refused at once, the token comes back.
void loses_its_token(void**) {
  unit::require_token();
  FaultyHsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  const Eek eek = need(store->generate_eeks("k", 1))[0];
  const Secret dek = need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material));
  std::size_t losses = 0;
  for (const CK_RV rv : {CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_SESSION_HANDLE_INVALID,
                         CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN, CKR_VENDOR_DEFINED + 7}) {
    hsm.fault("error", std::to_string(rv));
    auto got = store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material);
    assert_kind(got, ErrorKind::unavailable, "cannot serve now");
    assert_true(got.error().retry_after_s > 0);
    assert_int_equal(log.count("KMS0141"), ++losses);
    assert_true(eventually([&] { return log.count("KMS0142") == losses; }));
    assert_true(need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material)).equals(dek.view()));
  }
  // What is a matter of one request only loses nothing.
  hsm.fault("error", std::to_string(CKR_DATA_LEN_RANGE));
  assert_kind(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material), ErrorKind::unavailable);
  assert_true(serves(*store));
  assert_int_equal(log.count("KMS0141"), losses);
  // A key whose making failed is none, and its name is free.
  hsm.fault("error", std::to_string(CKR_DEVICE_REMOVED));
  assert_kind(store->create("fresh", aes_key(), nullptr), ErrorKind::unavailable);
  assert_true(eventually([&] { return store->create("fresh", aes_key(), nullptr).ok(); }));
}

void four_sessions(void**) {
  unit::require_token();
  FaultyHsm hsm;
  Log log;
  hsm.fault("sessions", "4");  // one is that of the login
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) good += serves(*store);
    });
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(good.load(), 16 * 50);
  assert_true(log.count("KMS0145") <= 5);
  assert_true(store->condition().state == HealthState::good);
}

// One refusal for all processes of a configuration: tokens lock after a few.
void wrong_pin_is_tried_once(void**) {
  unit::require_token();
  FaultyHsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  hsm.tool("--change-pin --new-pin 4321");
  hsm.fault("error", std::to_string(CKR_DEVICE_REMOVED));
  assert_kind(store->generate_eeks("k", 1), ErrorKind::unavailable);
  assert_true(eventually([&] { return log.count("KMS0147") == 1; }));
  assert_kind(store->generate_eeks("k", 1), ErrorKind::unavailable, "C_Login");
  assert_true(store->condition().state == HealthState::failing);
  store.reset();
  hsm.set_pin("4321");  // and a reload
  store = hsm.open(log);
  assert_true(serves(*store));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(calls_of_requests),       cmocka_unit_test(decrypts_share_calls),
      cmocka_unit_test(hanging_library),         cmocka_unit_test(ends_while_hanging),
      cmocka_unit_test(loses_its_token),         cmocka_unit_test(four_sessions),
      cmocka_unit_test(wrong_pin_is_tried_once),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
