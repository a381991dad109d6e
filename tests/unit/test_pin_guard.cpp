// SPDX-License-Identifier: Apache-2.0
// Processes that log in at one time: a wrong PIN is tried once.
#include "pkcs11/pin_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <vector>

#include "core/clock.h"
#include "unit.h"

using namespace kms;
using namespace kms::pkcs11;

namespace {

constexpr int kProcesses = 6;
constexpr std::int64_t kPatient = 60'000;

// What the processes of a test count together.
struct Counts {
  std::atomic<int> tries{0}, inside{0}, most{0}, refused{0}, let_in{0};
};

Counts& shared_counts() {
  void* at =
      ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) _fail("mmap", 0);
  return *new (at) Counts;
}

void in_processes(const std::function<void()>& work) {
  std::vector<pid_t> pids;
  for (int i = 0; i < kProcesses; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      work();
      ::_exit(0);
    }
    pids.push_back(pid);
  }
  for (const pid_t pid : pids) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
  }
}

// A login of 30 ms that ends with rv.
LoginProblem log_in(Counts& counts, CK_RV rv) {
  ++counts.tries;
  const int inside = ++counts.inside;
  for (int most = counts.most; inside > most && !counts.most.compare_exchange_weak(most, inside);) {
  }
  ::usleep(30'000);
  --counts.inside;
  if (rv == CKR_OK) return {};
  return {rv, "no", rv == CKR_PIN_INCORRECT};
}

void attempt(PinGuard& guard, Counts& counts, std::int64_t since_ms, CK_RV rv) {
  const auto problem = guard.in_turn(since_ms, kPatient, [&] { return log_in(counts, rv); });
  ++(problem.text.empty() ? counts.let_in : counts.refused);
}

void a_wrong_pin_is_tried_once(void**) {
  PinGuard guard;
  Counts& counts = shared_counts();
  const std::int64_t since = steady_ms();
  in_processes([&] { attempt(guard, counts, since, CKR_PIN_INCORRECT); });
  assert_int_equal(counts.tries, 1);
  assert_int_equal(counts.refused, kProcesses);
  // Whenever somebody asks.
  attempt(guard, counts, steady_ms() + 1000, CKR_OK);
  assert_int_equal(counts.tries, 1);
}

void a_good_one_is_used_side_by_side(void**) {
  PinGuard guard;
  Counts& counts = shared_counts();
  const std::int64_t since = steady_ms();
  attempt(guard, counts, since, CKR_OK);
  assert_int_equal(counts.most, 1);
  in_processes([&] { attempt(guard, counts, since, CKR_OK); });
  assert_int_equal(counts.let_in, kProcesses + 1);
  assert_true(counts.most > 1);
  // One that was let in before the token was lost proves nothing.
  counts.most = 0;
  const std::int64_t lost = steady_ms() + kPatient;
  in_processes([&] { attempt(guard, counts, lost, CKR_DEVICE_ERROR); });
  assert_int_equal(counts.most, 1);
}

void whoever_dies_or_hangs_stops_nobody(void**) {
  PinGuard guard;
  Counts& counts = shared_counts();
  const std::int64_t since = steady_ms();
  const auto never = [] {
    ::pause();
    return LoginProblem{};
  };
  int told[2];
  assert_int_equal(::pipe(told), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    guard.in_turn(since, kPatient, [&] {
      if (::write(told[1], "x", 1) != 1) ::_exit(1);
      return never();
    });
    ::_exit(0);
  }
  char x = 0;
  assert_int_equal(::read(told[0], &x, 1), 1);
  // It hangs: after the wait they go on without a turn.
  const std::int64_t before = steady_ms();
  const auto problem = guard.in_turn(since, 100, [&] { return log_in(counts, CKR_DEVICE_ERROR); });
  assert_int_equal(problem.rv, CKR_DEVICE_ERROR);
  assert_true(steady_ms() - before >= 100);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  in_processes([&] { attempt(guard, counts, since, CKR_PIN_INCORRECT); });
  assert_int_equal(counts.tries, 2);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_wrong_pin_is_tried_once),
      cmocka_unit_test(a_good_one_is_used_side_by_side),
      cmocka_unit_test(whoever_dies_or_hangs_stops_nobody),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
