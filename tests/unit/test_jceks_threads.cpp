// SPDX-License-Identifier: Apache-2.0
// Many threads and many keys in one process. Run under ThreadSanitizer, too.
#include <fcntl.h>
#include <sys/file.h>

#include <atomic>
#include <set>
#include <thread>

#include "config.h"
#include "core/clock.h"
#include "jceks_util.h"

using namespace kms;
using namespace kms::jceks;
using unit::aes;
using unit::assert_text;
using unit::Log;
using unit::must;
using unit::open_or_fail;
using unit::TempDir;

namespace {

// Readers never miss what is there, while writers change the file and a poller looks at it.
void readers_and_writers(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  must(store->create("steady", aes(), nullptr));
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, reads{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      int seen = 0;
      while (!stop) {
        const auto current = store->current_version("steady");
        const auto metadata = store->metadata("STEADY");
        if (!current.ok() || *current == nullptr || !metadata.ok() || *metadata == nullptr) {
          ++wrong;
          continue;
        }
        // Versions only grow, and the first one stays.
        if ((*metadata)->versions < seen) ++wrong;
        seen = (*metadata)->versions;
        if (*store->version("steady@0") == nullptr) ++wrong;
        ++reads;
      }
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        const std::string name = "w" + std::to_string(t) + "-" + std::to_string(i);
        if (!store->create(name, aes(), nullptr).ok()) ++wrong;
        if (!store->roll("steady", nullptr).ok()) ++wrong;
        if (*store->version(name + "@0") == nullptr) ++wrong;  // one's own change is seen
        if (i % 2 == 0 && !store->remove(name).ok()) ++wrong;
      }
    });
  }
  threads.emplace_back([&] {
    while (!stop) {
      store->poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  threads[4].join();
  threads[5].join();
  stop = true;
  for (auto& thread : threads)
    if (thread.joinable()) thread.join();
  assert_int_equal(wrong.load(), 0);
  assert_true(reads.load() > 0);
  assert_int_equal((*store->metadata("steady"))->versions, 51);
  assert_int_equal(store->versions("steady")->size(), 51);
  assert_int_equal(store->names()->size(), 1 + 24);
}

void an_entry_is_opened_once(void**) {
  TempDir dir;
  Log log;
  unit::write_file(dir.path("ks"), unit::read_file(unit::data_path("jceks/badkey-padding.jceks")));
  auto store = open_or_fail(dir.path("ks"), log);
  std::vector<std::thread> threads;
  std::vector<const KeyMetadata*> got(8);
  for (std::size_t t = 0; t < got.size(); ++t) {
    threads.emplace_back([&, t] {
      got[t] = store->metadata("k")->get();
      (void)store->version("k@0");
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto* each : got) assert_ptr_equal(each, got[0]);
  assert_int_equal(log.count("KMS0114"), 1);
}

// Threads that wait for each other's writes give up in time, too.
void writers_of_one_process_wait_in_turn(void**) {
  TempDir dir;
  Log log;
  JceksOptions options = unit::options_for(dir.path("ks"));
  options.lock_timeout_ms = 200;
  auto store = must(open_store(options, Secret(std::string_view("none")), log, false));
  assert_true(store->attach().ok());
  const int fd = ::open(dir.path(".ks.lock").c_str(), O_RDWR);
  assert_int_equal(::flock(fd, LOCK_EX), 0);
  std::atomic<int> unavailable{0};
  std::vector<std::thread> threads;
  const auto begin = steady_ms();
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      auto made = store->create("k" + std::to_string(t), aes(), nullptr);
      unavailable += !made.ok() && made.error().kind == ErrorKind::unavailable;
    });
  }
  for (auto& thread : threads) thread.join();
  ::close(fd);
  assert_int_equal(unavailable.load(), 4);
  assert_in_range(steady_ms() - begin, 200, 10000);
  must(store->create("k", aes(), nullptr));
}

// Two stores in one thread do not mix.
void two_stores(void**) {
  TempDir dir;
  Log log;
  auto a = open_or_fail(dir.path("a"), log);
  auto b = open_or_fail(dir.path("b"), log);
  must(a->create("in-a", aes(), nullptr));
  must(b->create("in-b", aes(), nullptr));
  for (int i = 0; i < 3; ++i) {
    assert_true(*a->version("in-a@0") != nullptr && *a->version("in-b@0") == nullptr);
    assert_true(*b->version("in-b@0") != nullptr && *b->version("in-a@0") == nullptr);
  }
}

void ten_thousand_keys(void**) {
  constexpr int kKeys = 10000;
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  unit::write_file(path, unit::cheap_keystore(kKeys));
  const auto t0 = steady_ms();
  auto store = open_or_fail(path, log);
  const auto t1 = steady_ms();
  assert_int_equal(store->names()->size(), kKeys);
  assert_true(*store->version("key-9999@0") != nullptr);
  const auto t2 = steady_ms();
  must(store->create("one-more", aes(), nullptr));
  const auto t3 = steady_ms();
  print_message("open %ld ms, create %ld ms\n", static_cast<long>(t1 - t0),
                static_cast<long>(t3 - t2));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  // Some 50 ms; what grows with the square of the keys takes minutes, and a busy machine seconds.
  assert_true(t1 - t0 < 5000);
#endif
  assert_int_equal(open_or_fail(path, log)->names()->size(), kKeys + 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(readers_and_writers),
      cmocka_unit_test(an_entry_is_opened_once),
      cmocka_unit_test(writers_of_one_process_wait_in_turn),
      cmocka_unit_test(two_stores),
      cmocka_unit_test(ten_thousand_keys),
  };
  return cmocka_run_group_tests_name("jceks threads", tests, nullptr, nullptr);
}
