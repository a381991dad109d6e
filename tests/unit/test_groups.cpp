// SPDX-License-Identifier: Apache-2.0
// Groups of users: the static mapping, the cache, and a system that is slow or fails.
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "auth/groups.h"
#include "core/clock.h"
#include "unit.h"

using namespace kms;

namespace {

using Names = std::vector<std::string>;

class Counter final : public Logger {
 public:
  void log(LogLevel, std::string_view id, std::string_view) noexcept override {
    const std::lock_guard lock(mutex_);
    ++lines_[std::string(id)];
  }
  int count(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return lines_[id];
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> lines_;
};

// A directory whose answers can be held back.
class Directory {
 public:
  Result<Names> look_up(const std::string& user) {
    std::unique_lock lock(mutex_);
    ++calls_;
    most_ = std::max(most_, ++running_);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    signals_blocked_ = signals_blocked_ && sigismember(&mask, SIGTERM) == 1;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    --running_;
    if (user == "broken") return Error(ErrorKind::unavailable, "no directory");
    if (user == "throws") throw std::bad_alloc();
    const auto found = known_.find(user);
    return found == known_.end() ? Names{} : found->second;
  }
  void set(const std::string& user, Names names) {
    const std::lock_guard lock(mutex_);
    known_[user] = std::move(names);
  }
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void release() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  void wait_for_calls(int n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return calls_ >= n; });
  }
  int calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  int most() {
    const std::lock_guard lock(mutex_);
    return most_;
  }
  bool signals_blocked() {
    const std::lock_guard lock(mutex_);
    return signals_blocked_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Names> known_;
  bool held_ = false, signals_blocked_ = true;
  int calls_ = 0, running_ = 0, most_ = 0;
};

std::unique_ptr<Groups> groups_of(Logger& logger, Directory& directory, std::int64_t cache_s,
                                  std::int64_t negative_s, std::int64_t max_wait_ms = 60000) {
  Groups::Options options;
  options.cache_s = cache_s;
  options.negative_cache_s = negative_s;
  options.max_wait_ms = max_wait_ms;
  options.lookup = [&directory](const std::string& user) { return directory.look_up(user); };
  auto made = Groups::create(std::move(options), logger);
  assert_true(made.ok());
  return std::move(made).value();
}

// Asks until the answer is this one.
void become(Groups& groups, std::string_view user, const Names& want) {
  while (*groups.of(user) != want) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void static_groups(void**) {
  Counter logger;
  Groups::Options options;
  options.static_mapping = " u1 = g1 , g2,; u2=;;u3 ; dr.who=\n";
  options.lookup = [](const std::string&) -> Result<Names> { return Names{"system"}; };
  const auto made = Groups::create(options, logger);
  assert_true(made.ok());
  Groups& groups = **made;
  assert_true(*groups.of("u1") == (Names{"g1", "g2"}));
  for (const char* user : {"u2", "u3", "dr.who"}) assert_true(groups.of(user)->empty());
  assert_true(*groups.of("other") == Names{"system"});
  for (const char* bad : {"=g1", "a=b=c", ";a=b;=;"}) {
    options.static_mapping = bad;
    const auto refused = Groups::create(options, logger);
    assert_false(refused.ok());
    assert_true(refused.error().kind == ErrorKind::configuration);
  }
  assert_true((*Groups::create({}, logger))->of("dr.who")->empty());
}

void answers_are_kept(void**) {
  Counter logger;
  Directory directory;
  directory.set("alice", {"g1"});
  const auto groups = groups_of(logger, directory, 300, 0);
  for (int i = 0; i < 5; ++i) assert_true(*groups->of("alice") == Names{"g1"});
  assert_int_equal(directory.calls(), 1);
  for (int i = 0; i < 3; ++i) assert_true(groups->of("nobody")->empty());
  assert_int_equal(directory.calls(), 4);  // negative time 0: asked each time
  assert_true(groups->find("nobody").ok());
  // No look-up of what the system would read as another name, or of nonsense.
  const int before = directory.calls();
  assert_true(groups->of(std::string_view("alice\0x", 7))->empty());
  assert_true(groups->of("")->empty());
  assert_true(groups->of(std::string(5000, 'a'))->empty());
  assert_int_equal(directory.calls(), before);
  // Made-up names do not fill the memory; known ones go on working.
  for (int i = 0; i < 12000; ++i) groups->of("made-up-" + std::to_string(i));
  assert_true(*groups->of("alice") == Names{"g1"});
  assert_true(directory.signals_blocked());
}

void failures_are_no_answers(void**) {
  Counter logger;
  Directory directory;
  const auto groups = groups_of(logger, directory, 300, 0);
  for (const char* user : {"broken", "throws"}) {
    assert_true(groups->of(user)->empty());
    const auto found = groups->find(user);
    assert_false(found.ok());
    assert_true(found.error().kind == ErrorKind::unavailable);
  }
  assert_int_equal(logger.count("KMS0210"), 2);
  assert_int_equal(logger.count("KMS0213"), 2);
  // Kept for the negative time; an exception not at all.
  const auto keeping = groups_of(logger, directory, 300, 300);
  const int before = directory.calls();
  for (int i = 0; i < 3; ++i) assert_false(keeping->find("broken").ok());
  assert_int_equal(directory.calls(), before + 1);
  for (int i = 0; i < 3; ++i) assert_false(keeping->find("throws").ok());
  assert_int_equal(directory.calls(), before + 4);
}

void one_question_for_many_callers(void**) {
  Counter logger;
  Directory directory;
  directory.set("alice", {"g1"});
  const auto groups = groups_of(logger, directory, 300, 30);
  directory.hold();
  std::vector<std::thread> callers;
  std::atomic<int> answered{0};
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      if (*groups->of("alice") == Names{"g1"}) ++answered;
    });
  directory.wait_for_calls(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  assert_int_equal(answered, 0);
  directory.release();
  for (auto& caller : callers) caller.join();
  assert_int_equal(answered, 4);
  assert_int_equal(directory.calls(), 1);
}

void nobody_waits_for_a_known_user(void**) {
  Counter logger;
  Directory directory;
  directory.set("alice", {"g1"});
  const auto groups = groups_of(logger, directory, 1, 30);
  assert_true(*groups->of("alice") == Names{"g1"});
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  directory.set("alice", {"g2"});
  directory.hold();
  // Expired: the old answer, for the one who lets it be asked for anew as well.
  for (int i = 0; i < 100; ++i) assert_true(*groups->of("alice") == Names{"g1"});
  directory.wait_for_calls(2);
  assert_true(*groups->of("alice") == Names{"g1"});
  directory.release();
  become(*groups, "alice", {"g2"});
  assert_int_equal(directory.calls(), 2);
}

void waiting_has_an_end(void**) {
  Counter logger;
  Directory directory;
  directory.set("alice", {"g1"});
  directory.set("bob", {"g2"});
  const auto groups = groups_of(logger, directory, 300, 30, 100);
  directory.hold();
  const std::int64_t start = steady_ms();
  assert_false(groups->find("alice").ok());
  assert_true(steady_ms() - start >= 90);
  // The question is still open: who comes now does not wait once more.
  const std::int64_t later = steady_ms();
  for (int i = 0; i < 50; ++i) assert_true(groups->of("alice")->empty());
  assert_true(steady_ms() - later < 90);
  assert_int_equal(directory.calls(), 1);
  assert_int_equal(logger.count("KMS0211"), 1);
  directory.release();
  become(*groups, "alice", {"g1"});
  assert_true(groups->find("alice").ok());
  // A user who does not hang is not held up by one who does.
  directory.hold();
  assert_false(groups->find("carol").ok());
  directory.release();
  assert_true(*groups->of("bob") == Names{"g2"});
  assert_int_equal(directory.calls(), 3);
}

// An old answer is good for ten times as long, and then no more.
void old_answers_have_an_end(void**) {
  Counter logger;
  Directory directory;
  directory.set("alice", {"g1"});
  const auto groups = groups_of(logger, directory, 0, 0, 50);
  assert_true(*groups->of("alice") == Names{"g1"});
  directory.hold();
  assert_false(groups->find("alice").ok());
  directory.release();
  become(*groups, "alice", {"g1"});
}

void a_failure_ends_an_old_answer(void**) {
  Counter logger;
  std::atomic<bool> fails{false};
  Groups::Options options;
  options.cache_s = 1;
  options.lookup = [&](const std::string&) -> Result<Names> {
    if (fails) return Error(ErrorKind::unavailable, "down");
    return Names{"g"};
  };
  const auto groups = std::move(*Groups::create(options, logger));
  assert_true(*groups->of("alice") == Names{"g"});
  fails = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  become(*groups, "alice", {});
  assert_false(groups->find("alice").ok());
  assert_int_equal(logger.count("KMS0210"), 1);
}

void questions_have_an_end(void**) {
  Counter logger;
  Directory directory;
  directory.set("alice", {"g1"});
  directory.hold();
  {
    const auto groups = groups_of(logger, directory, 300, 30, 0);
    for (int i = 0; i < 10000; ++i) assert_false(groups->find("u" + std::to_string(i)).ok());
    assert_int_equal(logger.count("KMS0212"), 0);
    for (int i = 0; i < 10; ++i) assert_false(groups->find("alice").ok());
    assert_int_equal(logger.count("KMS0212"), 1);  // not for each
    directory.release();
    become(*groups, "alice", {"g1"});
    directory.hold();
    for (int i = 0; i < 10; ++i) groups->of("v" + std::to_string(i));
    directory.release();
    // Leaves with questions in the queue.
  }
  assert_true(directory.most() <= 4);
}

void ending_waits_for_what_runs(void**) {
  Counter logger;
  Directory directory;
  directory.hold();
  std::thread releaser;
  {
    const auto groups = groups_of(logger, directory, 300, 30, 1);
    assert_false(groups->find("alice").ok());
    directory.wait_for_calls(1);
    releaser = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      directory.release();
    });
  }
  releaser.join();
  assert_int_equal(directory.calls(), 1);
}

void threads_ask_for_many_users(void**) {
  Counter logger;
  Directory directory;
  for (int i = 0; i < 50; ++i) directory.set("u" + std::to_string(i), {"g" + std::to_string(i)});
  const auto groups = groups_of(logger, directory, 0, 0);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const int n = (i * 7 + t) % 50;
        if (*groups->of("u" + std::to_string(n)) != Names{"g" + std::to_string(n)}) ++wrong;
        if (!groups->of("nobody")->empty()) ++wrong;
      }
    });
  for (auto& caller : callers) caller.join();
  assert_int_equal(wrong, 0);
}

void groups_of_the_system(void**) {
  Counter logger;
  const auto made = Groups::create({}, logger);
  const Names of_root = *(*made)->of("root");
  assert_true(std::find(of_root.begin(), of_root.end(), "root") != of_root.end());
  assert_true((*made)->of("no-such-user-kms")->empty());
  assert_int_equal(logger.count("KMS0210"), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(static_groups),
      cmocka_unit_test(answers_are_kept),
      cmocka_unit_test(failures_are_no_answers),
      cmocka_unit_test(one_question_for_many_callers),
      cmocka_unit_test(nobody_waits_for_a_known_user),
      cmocka_unit_test(waiting_has_an_end),
      cmocka_unit_test(old_answers_have_an_end),
      cmocka_unit_test(a_failure_ends_an_old_answer),
      cmocka_unit_test(questions_have_an_end),
      cmocka_unit_test(ending_waits_for_what_runs),
      cmocka_unit_test(threads_ask_for_many_users),
      cmocka_unit_test(groups_of_the_system),
  };
  return cmocka_run_group_tests_name("groups", tests, nullptr, nullptr);
}
