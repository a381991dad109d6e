// SPDX-License-Identifier: Apache-2.0
// Rate limits and alarms: what the rules say, buckets and windows by an injected time, and the
// table with many names, threads and processes.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "limits/limits.h"
#include "log_lines.h"
#include "unit.h"

using namespace kms;
using unit::assert_text;
using unit::LogLines;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kStart = 1000 * kSecond;

// A region as the parent maps it.
class Memory {
 public:
  Memory()
      : region(mmap(nullptr, LimitTable::kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                    -1, 0)) {
    assert_true(region != MAP_FAILED);
    assert_true(LimitTable::prepare(region).ok());
  }
  ~Memory() { munmap(region, LimitTable::kBytes); }
  void* const region;
};

std::vector<LimitRule> limits(const char* text) {
  auto rules = parse_limit_rules(text);
  assert_true(rules.ok());
  return *rules;
}

std::vector<AlarmRule> alarms(const char* text) {
  auto rules = parse_alarm_rules(text);
  assert_true(rules.ok());
  return *rules;
}

std::int64_t wait_of(Limits& it, std::string_view user, std::int64_t now, std::int64_t cost = 1,
                     LimitClass what = LimitClass::decrypt) {
  Limits::Charges charges;
  const auto refusal = it.charge(LimitScope::user, what, user, cost, now, charges);
  return refusal.has_value() ? refusal->retry_after_s : 0;
}

void rules(void**) {
  const auto rule = parse_limit_rule(" User  Decrypt,generate 100/MINUTE burst=7 ");
  assert_true(rule.ok());
  assert_true(rule->scope == LimitScope::user);
  assert_int_equal(rule->classes, 3);
  assert_int_equal(rule->rate, 100);
  assert_int_equal(rule->period_s, 60);
  assert_int_equal(rule->burst, 7);
  assert_text(rule->text, "user decrypt,generate 100/minute burst=7");
  assert_int_equal(parse_limit_rule("key all 5/hour")->burst, 5);
  assert_true(parse_limit_rule("key all 5/hour")->counts(LimitScope::key, LimitClass::read));
  assert_false(parse_limit_rule("key all 5/hour")->counts(LimitScope::user, LimitClass::read));
  // The same bucket at another rate.
  assert_text(parse_limit_rule("user all 5/hour")->tag, parse_limit_rule("user all 9/second")->tag);

  for (const char* bad :
       {"", "user", "user decrypt", "host decrypt 1/second", "user decrypts 1/second",
        "user decrypt, 1/second", "user decrypt 0/second", "user decrypt 1000001/second",
        "user decrypt -1/second", "user decrypt 1/day", "user decrypt 1", "user decrypt 1/second x",
        "user decrypt 1/second burst=", "user decrypt 1/second burst=0",
        "user decrypt 1/second burst=5 more", "user decrypt 1.5/second"})
    assert_false(parse_limit_rule(bad).ok());
  assert_int_equal(limits("user decrypt 1/second; key all 2/minute;").size(), 2);
  assert_int_equal(limits(" None ").size(), 0);
  assert_int_equal(limits("").size(), 0);
  assert_false(parse_limit_rules("user decrypt 1/second; user decrypt 2/minute").ok());
  assert_false(parse_limit_rules("none; user decrypt 2/minute").ok());

  assert_int_equal(alarms("user 10/minute; key 1000/hour; user 5/second").size(), 3);
  for (const char* bad : {"user", "user decrypt 5/second", "key 5/fortnight"})
    assert_false(parse_alarm_rule(bad).ok());
  std::string many;
  for (int i = 1; i < 16; ++i)
    for (const char* period : {"second", "minute", "hour"}) {
      std::string list;
      for (const auto& [bit, name] :
           {std::pair{1, "decrypt"}, {2, "generate"}, {4, "manage"}, {8, "read"}})
        if (i & bit) list += (list.empty() ? "" : ",") + std::string(name);
      many += std::string(period[0] == 's' ? "user " : "key ") + list + " 1/" + period + ";";
    }
  assert_false(parse_limit_rules(many).ok());
}

void a_bucket_empties_and_fills(void**) {
  const Memory memory;
  LogLines log;
  Limits it(limits("user decrypt 2/second burst=5"), {}, memory.region, log);
  for (int i = 0; i < 5; ++i) assert_int_equal(wait_of(it, "alice", kStart), 0);
  assert_int_equal(wait_of(it, "alice", kStart), 1);
  assert_int_equal(wait_of(it, "bob", kStart), 0);  // has a bucket of his own
  assert_int_equal(wait_of(it, "alice", kStart + kSecond / 2 - 1), 1);
  assert_int_equal(wait_of(it, "alice", kStart + kSecond / 2), 0);  // one has come back
  assert_int_equal(wait_of(it, "alice", kStart + kSecond / 2), 1);
  // Operations that no rule counts.
  assert_int_equal(wait_of(it, "alice", kStart, 1, LimitClass::generate), 0);
  assert_true(it.counts(LimitScope::user, LimitClass::decrypt));
  assert_false(it.counts(LimitScope::key, LimitClass::decrypt));
  // A long rest gives a full bucket and no more.
  const std::int64_t later = kStart + 3600 * kSecond;
  for (int i = 0; i < 5; ++i) assert_int_equal(wait_of(it, "alice", later), 0);
  assert_int_equal(wait_of(it, "alice", later), 1);
  assert_int_equal(it.totals().refused_user, 4);
}

void the_wait_is_honest(void**) {
  const Memory memory;
  LogLines log;
  Limits it(limits("user all 1/minute burst=2"), {}, memory.region, log);
  assert_int_equal(wait_of(it, "alice", kStart), 0);
  assert_int_equal(wait_of(it, "alice", kStart), 0);
  assert_int_equal(wait_of(it, "alice", kStart), 60);
  assert_int_equal(wait_of(it, "alice", kStart + 1), 60);  // 59.999999999 s, rounded up
  assert_int_equal(wait_of(it, "alice", kStart + 59 * kSecond), 1);
  assert_int_equal(wait_of(it, "alice", kStart + 60 * kSecond), 0);
  // Of several EEKs each counts. What is dearer than the bucket passes when that is full, and is
  // paid off.
  assert_int_equal(wait_of(it, "bob", kStart, 10), 0);
  assert_int_equal(wait_of(it, "bob", kStart), 9 * 60);
  assert_int_equal(wait_of(it, "bob", kStart + 9 * 60 * kSecond), 0);
  assert_int_equal(wait_of(it, "carol", kStart), 0);
  assert_int_equal(wait_of(it, "carol", kStart, 10), 60);
}

void a_refusal_takes_nothing(void**) {
  const Memory memory;
  LogLines log;
  Limits it(limits("user decrypt 3/hour; user all 100/hour; key decrypt 1/hour"), {}, memory.region,
            log);
  const auto call = [&](std::string_view key) {
    Limits::Charges charges;
    return !it.charge(LimitScope::user, LimitClass::decrypt, "alice", 1, kStart, charges) &&
           !it.charge(LimitScope::key, LimitClass::decrypt, key, 1, kStart, charges);
  };
  assert_true(call("k"));
  for (int i = 0; i < 50; ++i) assert_false(call("k"));  // the key's limit
  assert_true(call("l"));                                // and the user still has two
  assert_true(call("m"));
  assert_false(call("n"));
  assert_int_equal(it.totals().refused_key, 50);
  assert_int_equal(it.totals().refused_user, 1);
  // One line for each of the two, however often.
  assert_int_equal(log.all().size(), 2);
  assert_text(log.all()[0],
              "KMS0632: The limit 'key decrypt 1/hour' refuses requests of the key 'k'");
  assert_text(log.all()[1],
              "KMS0632: The limit 'user decrypt 3/hour' refuses requests of the user 'alice'");
}

void counts_outlive_a_restart(void**) {
  const Memory memory;
  LogLines log;
  Limits before(limits("user decrypt 2/hour"), {}, memory.region, log);
  assert_int_equal(wait_of(before, "alice", kStart), 0);
  assert_int_equal(wait_of(before, "alice", kStart), 0);
  assert_true(LimitTable::prepare(memory.region).ok());
  Limits after(limits("key all 9/second; user decrypt 2/hour"), {}, memory.region, log);
  assert_true(wait_of(after, "alice", kStart) > 0);
}

void more_names_than_places(void**) {
  const Memory memory;
  LogLines log;
  Limits it(limits("user all 1/hour"), {}, memory.region, log);
  // Never too little: every name may do one thing an hour, whoever else comes.
  int refused = 0;
  constexpr int kNames = 2 * static_cast<int>(LimitTable::kEntries);
  for (int i = 0; i < kNames; ++i)
    if (wait_of(it, "user" + std::to_string(i), kStart) > 0) ++refused;
  assert_true(refused > kNames / 3);
  for (int i = 0; i < kNames; i += 97)
    assert_true(wait_of(it, "user" + std::to_string(i), kStart + kSecond) > 0);
  assert_true(it.totals().shared > 0);
  int said = 0;
  for (const std::string& line : log.all()) said += line.starts_with("KMS0633");
  assert_int_equal(said, 1);
  assert_true(log.all().size() <= 1 + 31);  // refusals have a budget of lines together
  // When their buckets are full again, the places are free for others.
  int fresh = 0;
  for (int i = 0; i < 1000; ++i)
    if (wait_of(it, "new" + std::to_string(i), kStart + 2 * 3600 * kSecond) == 0) ++fresh;
  assert_int_equal(fresh, 1000);
}

void an_alarm_and_its_silence(void**) {
  const Memory memory;
  LogLines log;
  Limits it({}, alarms("user 10/second; key 15/minute"), memory.region, log);
  assert_true(it.has_alarms());
  for (int i = 0; i < 10; ++i) it.decrypted("alice", "k", kStart + i);
  assert_int_equal(log.all().size(), 0);  // as many as allowed
  it.decrypted("alice", "k", kStart + 10);
  assert_int_equal(log.all().size(), 1);
  assert_text(
      log.all()[0],
      "KMS0630: Decrypt alarm 'user 10/second': 11 decrypts by the user 'alice' within 1 s; "
      "the last one by 'alice' with the key 'k'");
  for (int i = 0; i < 100; ++i) it.decrypted("alice", "k", kStart + 20 + i);
  assert_int_equal(log.all().size(), 2);  // the key's; the user's is said
  assert_true(
      log.all()[1].starts_with("KMS0630: Decrypt alarm 'key 15/minute': 16 decrypts with "
                               "the key 'k' within 60 s"));
  assert_int_equal(it.totals().alarms_user, 1);
  assert_int_equal(it.totals().alarms_key, 1);
  // At a rate below it there is none.
  for (int i = 0; i < 50; ++i)
    it.decrypted("bob", "other" + std::to_string(i), kStart + i * kSecond / 9);
  assert_int_equal(log.all().size(), 2);
  // It is said again when it goes on after a minute.
  for (int i = 0; i < 30; ++i) it.decrypted("alice", "l", kStart + 61 * kSecond + i);
  assert_int_equal(it.totals().alarms_user, 2);
}

void a_window_slides(void**) {
  const Memory memory;
  LimitTable table(memory.region);
  auto& entry = table.find({"t", 0}, "n", kStart);
  for (int i = 1; i <= 8; ++i) assert_int_equal(count(entry, kSecond, kStart + kSecond / 2), i);
  // Half of the window has passed into the next: half of the eight are left.
  assert_int_equal(count(entry, kSecond, kStart + kSecond * 3 / 2), 1 + 4);
  assert_int_equal(count(entry, kSecond, kStart + kSecond * 5 / 2), 1);  // and half of one
  assert_int_equal(count(entry, kSecond, kStart + kSecond * 50), 1);
  assert_int_equal(count(entry, kSecond, kStart + kSecond * 50 - 1), 2);  // a thread a little late
}

// With time standing still exactly the burst gets through, over all threads of all processes.
void threads_and_processes_share_a_bucket(void**) {
  const Memory memory;
  constexpr int kProcesses = 3, kThreads = 4, kTries = 2000;
  const auto work = [&](std::atomic<int>& passed) {
    LogLines log;
    Limits it(limits("user decrypt 3000/hour; key decrypt 1000000/hour"), {}, memory.region, log);
    for (int i = 0; i < kTries; ++i) {
      Limits::Charges charges;
      if (!it.charge(LimitScope::user, LimitClass::decrypt, "alice", 1, kStart, charges) &&
          !it.charge(LimitScope::key, LimitClass::decrypt, "k", 1, kStart, charges))
        ++passed;
    }
  };
  void* shared = mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& passed = *new (shared) std::atomic<int>(0);
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      std::vector<std::thread> threads;
      for (int t = 0; t < kThreads; ++t) threads.emplace_back([&] { work(passed); });
      for (std::thread& thread : threads) thread.join();
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
  }
  assert_int_equal(passed.load(), 3000);
  munmap(shared, sizeof(std::atomic<int>));
}

// Names that come and go while their places are taken over: never more than the burst at one time,
// but for one operation of a thread whose entry was taken meanwhile.
void threads_contend_for_places(void**) {
  const Memory memory;
  LogLines log;
  Limits it(limits("user all 1000/second burst=1"), alarms("user 1000000/hour"), memory.region,
            log);
  std::atomic<std::int64_t> now{kStart};
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Limits::Charges charges;
      for (int i = 0; i < 20000; ++i) {
        const std::string name = "user" + std::to_string((i * 7 + t) % 3000);
        if (!it.charge(LimitScope::user, LimitClass::read, name, 1, now.load(), charges)) ++passed;
        charges = {};
        it.decrypted(name, "k", now.fetch_add(kSecond / 100000));
      }
    });
  for (std::thread& thread : threads) thread.join();
  assert_true(passed.load() > 20000);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(rules),
      cmocka_unit_test(a_bucket_empties_and_fills),
      cmocka_unit_test(the_wait_is_honest),
      cmocka_unit_test(a_refusal_takes_nothing),
      cmocka_unit_test(counts_outlive_a_restart),
      cmocka_unit_test(more_names_than_places),
      cmocka_unit_test(an_alarm_and_its_silence),
      cmocka_unit_test(a_window_slides),
      cmocka_unit_test(threads_and_processes_share_a_bucket),
      cmocka_unit_test(threads_contend_for_places),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
