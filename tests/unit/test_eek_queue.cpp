// SPDX-License-Identifier: Apache-2.0
// EEKs made in advance: what is given out, when more is made, what is thrown away.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "keystore/eek_queue.h"
#include "unit.h"

using namespace kms;

namespace {

VersionPtr version_of(const std::string& name, int number = 0) {
  auto made = std::make_shared<KeyVersion>();
  made->name = name;
  made->version_name = version_name(name, number);
  return made;
}

// Makes EEKs whose material is their number, and can be held back or told to fail.
class Source {
 public:
  EekQueue::Make maker() {
    return [this](const VersionPtr& kek, std::size_t count) { return make(kek, count); };
  }
  Result<std::vector<Eek>> make(const VersionPtr& kek, std::size_t count) {
    std::unique_lock lock(mutex_);
    sizes_.push_back(count);
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (failing_) return Error(ErrorKind::unavailable, "the HSM is away");
    std::vector<Eek> out(count);
    for (Eek& eek : out) {
      eek.wrapped_by = kek;
      const std::string text = std::to_string(next_++);
      eek.material.assign(text.begin(), text.end());
    }
    return out;
  }
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void fail(bool failing) {
    const std::lock_guard lock(mutex_);
    failing_ = failing;
  }
  std::vector<std::size_t> sizes() {
    const std::lock_guard lock(mutex_);
    return sizes_;
  }
  void wait_for_calls(std::size_t calls) {
    std::unique_lock lock(mutex_);
    assert_true(
        changed_.wait_for(lock, std::chrono::seconds(30), [&] { return sizes_.size() >= calls; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false, failing_ = false;
  int next_ = 0;
  std::vector<std::size_t> sizes_;  // of the calls
};

constexpr EekQueueOptions kTen{10, 0.5, 1'000'000, 2};

std::vector<Eek> take(EekQueue& queue, const VersionPtr& kek, std::size_t count,
                      const std::string& identity = "one") {
  auto eeks = queue.take(kek, identity, count);
  assert_true(eeks.ok());
  assert_int_equal(eeks->size(), count);
  for (const Eek& eek : *eeks) assert_ptr_equal(eek.wrapped_by.get(), kek.get());
  return std::move(*eeks);
}

void wait_until_ready(EekQueue& queue, std::size_t count) {
  for (int i = 0; queue.ready("k") != count; ++i) {
    assert_true(i < 3000);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void without_a_queue(void**) {
  Source source;
  EekQueue queue({}, source.maker());
  take(queue, version_of("k"), 3);
  take(queue, version_of("k"), 4);
  assert_true(source.sizes() == (std::vector<std::size_t>{3, 4}));
  assert_int_equal(queue.ready("k"), 0);
}

void ready_ones_come_first(void**) {
  Source source;
  EekQueue queue(kTen, source.maker());
  const VersionPtr kek = version_of("k");
  take(queue, kek, 2);  // made now, and ten in the background
  wait_until_ready(queue, 10);
  assert_int_equal(source.sizes().size(), 2);
  take(queue, kek, 5);  // five are left, which is no reason to make more
  assert_int_equal(queue.ready("k"), 5);
  assert_int_equal(source.sizes().size(), 2);
  take(queue, version_of("k"), 4);  // the same version, read anew; one is left
  wait_until_ready(queue, 10);
  assert_true(source.sizes().back() == 9);
  take(queue, kek, 25);  // ten, and fifteen made now
  const auto sizes = source.sizes();
  assert_true(std::count(sizes.begin(), sizes.end(), 15) == 1);
}

void a_new_version_empties_it(void**) {
  Source source;
  EekQueue queue(kTen, source.maker());
  take(queue, version_of("k"), 1);
  wait_until_ready(queue, 10);
  source.fail(true);
  assert_false(queue.take(version_of("k", 1), "two", 1).ok());  // none of the old one for it
  assert_int_equal(queue.ready("k"), 0);
}

void a_late_batch_of_an_old_version_is_dropped(void**) {
  Source source;
  EekQueue queue(kTen, source.maker());
  take(queue, version_of("k"), 1);
  wait_until_ready(queue, 10);
  source.hold(true);
  take(queue, version_of("k"), 8);  // a batch begins
  source.wait_for_calls(3);
  std::thread next([&] { take(queue, version_of("k", 1), 1, "two"); });
  source.wait_for_calls(5);  // the one that is wanted, and a batch for the new version
  source.hold(false);
  next.join();
  wait_until_ready(queue, 10);
  for (const Eek& eek : take(queue, version_of("k", 1), 10, "two"))
    assert_string_equal(eek.wrapped_by->version_name.c_str(), "k@1");
}

void dropped_and_expired(void**) {
  Source source;
  EekQueue queue({10, 0.5, 1, 2}, source.maker());
  take(queue, version_of("k"), 1);
  wait_until_ready(queue, 10);
  queue.drop("nobody");
  assert_int_equal(queue.ready("k"), 10);
  queue.drop("k");
  assert_int_equal(queue.ready("k"), 0);
  take(queue, version_of("k"), 1);
  wait_until_ready(queue, 10);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  queue.expire();
  assert_int_equal(queue.ready("k"), 0);
}

void errors_are_the_callers(void**) {
  Source source;
  EekQueue queue(kTen, source.maker());
  const VersionPtr kek = version_of("k");
  source.fail(true);
  auto failed = queue.take(kek, "one", 1);
  assert_false(failed.ok());
  assert_string_equal(failed.error().message.c_str(), "the HSM is away");
  source.fail(false);
  // A batch that failed is tried again by one of the next requests.
  for (int i = 0; i < 3000 && queue.ready("k") == 0; ++i) {
    take(queue, kek, 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  wait_until_ready(queue, 10);
  source.fail(true);
  assert_false(queue.take(kek, "one", 11).ok());
  assert_int_equal(queue.ready("k"), 10);  // not lost with the request that got none
  take(queue, kek, 10);
  assert_false(queue.take(kek, "one", 1).ok());
}

void no_eek_twice(void**) {
  Source source;
  EekQueue queue({50, 0.9, 1'000'000, 4}, source.maker());
  std::mutex mutex;
  std::set<std::string> seen;
  std::atomic<int> twice{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      const VersionPtr kek = version_of("k" + std::to_string(t % 2));
      for (int i = 0; i < 400; ++i) {
        auto eeks = queue.take(kek, kek->name, 1 + static_cast<std::size_t>(i % 7));
        if (!eeks.ok()) ++twice;
        const std::lock_guard lock(mutex);
        for (const Eek& eek : *eeks)
          if (!seen.insert(std::string(eek.material.begin(), eek.material.end())).second) ++twice;
        if (i % 50 == 0) queue.drop(kek->name);
      }
    });
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(twice.load(), 0);
  assert_int_equal(seen.size(), 6 * (400 / 7 * 28 + 1));
}

void stop_waits_for_a_batch(void**) {
  Source source;
  EekQueue queue(kTen, source.maker());
  const VersionPtr kek = version_of("k");
  take(queue, kek, 1);
  wait_until_ready(queue, 10);
  source.hold(true);
  take(queue, kek, 8);
  source.wait_for_calls(3);
  std::atomic<bool> held{true}, stopped_early{false};
  std::thread stopping([&] {
    queue.stop();
    stopped_early = held.load();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  held = false;
  source.hold(false);
  stopping.join();
  assert_false(stopped_early.load());
  take(queue, kek, 2);  // as if there were no queue
  assert_true(source.sizes().back() == 2);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(without_a_queue),
      cmocka_unit_test(ready_ones_come_first),
      cmocka_unit_test(a_new_version_empties_it),
      cmocka_unit_test(a_late_batch_of_an_old_version_is_dropped),
      cmocka_unit_test(dropped_and_expired),
      cmocka_unit_test(errors_are_the_callers),
      cmocka_unit_test(no_eek_twice),
      cmocka_unit_test(stop_waits_for_a_batch),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
