// SPDX-License-Identifier: Apache-2.0
// The secrets that sign cookies: the file, and the region that processes share.
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "auth/java_utf8.h"
#include "auth/shared_signer_layout.h"
#include "auth/signer.h"
#include "core/clock.h"
#include "crypto/base64.h"
#include "unit.h"

using namespace kms;
using unit::assert_text;
using unit::from_hex;

namespace {

constexpr std::int64_t kHour = 3600 * 1000;

std::string signature(SignerSecrets& secrets, std::string_view text) {
  const auto mac = secrets.sign(text);
  assert_true(mac.ok());
  return base64_encode(*mac);
}

// --- the file
// -------------------------------------------------------------------------------------

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    const int fd = mkstemp(path_.data());
    assert_true(fd >= 0);
    assert_true(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    close(fd);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/kms-test-XXXXXX";
};

void assert_unusable(const std::string& path, std::string_view why) {
  const auto secret = read_signature_secret(path);
  assert_false(secret.ok());
  assert_true(secret.error().kind == ErrorKind::configuration);
  assert_text(secret.error().message,
              "hadoop.kms.authentication.signature.secret.file: " + path + ": " + std::string(why));
}

void secret_files(void**) {
  const TemporaryFile usual("k\xc3\xa9y\n");
  auto secret = read_signature_secret(usual.path());
  assert_true(secret.ok());
  assert_true(secret->equals(as_bytes("k\xc3\xa9y\n")));
  const auto fixed = make_fixed_signer(std::move(secret).value());
  // From auth-vectors.json.
  assert_text(signature(*fixed, "u=j\xc3\xbcrg&p=j\xc3\xbcrg x&t=simple-dt&e=1"),
              "oWhjky/w+N0gXpqLcuUTCx0vDz+yKxhI4cH7Bi0raUw=");

  assert_unusable("/tmp/kms-test-no-such-file", "No such file or directory");
  const TemporaryFile empty("");
  assert_unusable(empty.path(), "the file is empty");
  const TemporaryFile most(std::string(65536, 'x')), over(std::string(65537, 'x'));
  assert_true(read_signature_secret(most.path()).ok());
  assert_unusable(over.path(), "the file is larger than 64 KiB");
  assert_unusable("/tmp", "not a regular file");
  const std::string fifo = empty.path() + ".fifo";
  assert_int_equal(mkfifo(fifo.c_str(), 0600), 0);
  assert_unusable(fifo, "not a regular file");
  unlink(fifo.c_str());
  assert_false(make_fixed_signer(Secret())->sign("x").ok());
}

// Left: a file's bytes; right: what Java 17 has after its way through a String.
void binary_secrets_become_what_java_makes_of_them(void**) {
  constexpr const char* kPairs[][2] = {
      {"c1bfedf5f1e090", "efbfbdefbfbdefbfbdefbfbdefbfbdefbfbdefbfbd"},
      {"809f80f5ef", "efbfbdefbfbdefbfbdefbfbdefbfbd"},
      {"efc2", "efbfbdefbfbd"},
      {"c0e1f441ef", "efbfbdefbfbdefbfbd41efbfbd"},
      {"bfa0f1f5ede0bfa0", "efbfbdefbfbdefbfbdefbfbdefbfbde0bfa0"},
      {"532c6fcef262", "532c6fefbfbdefbfbd62"},
      {"dfa0f5", "dfa0efbfbd"},
      {"f09fed", "efbfbdefbfbd"},
      {"67e002", "67efbfbd02"},
      {"c1df8ffffff5c2", "efbfbddf8fefbfbdefbfbdefbfbdefbfbd"},
      {"f180c0c0", "efbfbdefbfbdefbfbd"},
      {"f09f9880eda08041", "f09f9880efbfbd41"},
  };
  for (const auto& [raw, want] : kPairs)
    assert_text(unit::to_hex(java_utf8(from_hex(raw)).view()), want);
  const TemporaryFile binary("\xff\n");
  assert_true(read_signature_secret(binary.path())->equals(as_bytes("\xef\xbf\xbd\n")));
}

// --- the shared region
// ----------------------------------------------------------------------------

class Mapping {
 public:
  Mapping()
      : memory_(mmap(nullptr, kSharedSignerBytes, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    assert_true(memory_ != MAP_FAILED);
  }
  ~Mapping() { munmap(memory_, kSharedSignerBytes); }
  void* get() const { return memory_; }
  SharedSignerRegion& region() const { return *static_cast<SharedSignerRegion*>(memory_); }
  SharedSignerRegion::Slot& slot(std::uint64_t generation) const {
    return region().slots[generation % SharedSignerRegion::kSlots];
  }
  // Lets the current secret be older by ms, in front of whoever reads it next.
  void age(std::int64_t ms) const { slot(region().generation).born_ms -= ms; }

 private:
  void* memory_;
};

pid_t in_child(const std::function<bool()>& body) {
  const pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) _exit(body() ? 0 : 1);
  return pid;
}

int status_of(pid_t pid) {
  int status = -1;
  assert_true(waitpid(pid, &status, 0) == pid);
  return status;
}

void assert_child(const std::function<bool()>& body) {
  assert_int_equal(status_of(in_child(body)), 0);
}

void region_rolls(void**) {
  const Mapping memory;
  assert_true(init_shared_signer(memory.get(), kHour).ok());
  // A new view each time, as in a process that has not read the secret yet.
  auto view = [&] { return make_shared_signer(memory.get()); };
  const std::string first = signature(*view(), "text");
  assert_true(view()->verify("text", first));
  assert_false(view()->verify("other", first));
  assert_false(view()->verify("text", ""));

  memory.age(kHour);
  const std::string second = signature(*view(), "text");
  assert_int_equal(memory.region().generation, 2);
  assert_true(first != second);
  assert_true(view()->verify("text", first));
  assert_true(view()->verify("text", second));

  memory.age(kHour);
  assert_true(view()->verify("text", second));
  assert_int_equal(memory.region().generation, 3);
  assert_false(view()->verify("text", first));
  // The secret that is no longer accepted is gone from the memory.
  const std::array<std::uint8_t, 32> zero{};
  assert_memory_equal(memory.slot(1).secret, zero.data(), zero.size());

  // After two periods without a roll the old secret is over too.
  const std::string third = signature(*view(), "text");
  memory.age(2 * kHour);
  assert_false(view()->verify("text", third));
  assert_false(view()->verify("text", second));
}

void region_outlives_graceful_restarts(void**) {
  const Mapping memory;
  assert_false(init_shared_signer(memory.get(), 0).ok());
  assert_true(init_shared_signer(memory.get(), kHour).ok());
  const auto old_child = make_shared_signer(memory.get());
  const std::string before = signature(*old_child, "text");
  assert_true(init_shared_signer(memory.get(), 2 * kHour).ok());
  assert_true(make_shared_signer(memory.get())->verify("text", before));
  assert_int_equal(memory.region().period_ms, 2 * kHour);
  memory.age(kHour);
  assert_true(make_shared_signer(memory.get())->verify("text", before));
  assert_int_equal(memory.region().generation, 1);
  // A shorter period is over at once.
  assert_true(init_shared_signer(memory.get(), kHour).ok());
  assert_true(make_shared_signer(memory.get())->verify("text", before));
  assert_int_equal(memory.region().generation, 2);

  // Another layout: new secrets.
  memory.region().layout = 99;
  const auto stranger = make_shared_signer(memory.get());
  assert_false(stranger->sign("text").ok());
  assert_false(stranger->verify("text", before));
  assert_true(init_shared_signer(memory.get(), kHour).ok());
  assert_false(make_shared_signer(memory.get())->verify("text", before));
}

void unprepared_region(void**) {
  const Mapping memory;
  const auto view = make_shared_signer(memory.get());
  assert_false(view->sign("text").ok());
  assert_false(view->verify("text", std::string(44, 'A')));
}

void processes_agree(void**) {
  const Mapping memory;
  assert_true(init_shared_signer(memory.get(), kHour).ok());
  const auto mine = make_shared_signer(memory.get());
  const std::string first = signature(*mine, "text");
  assert_child([&] { return mine->verify("text", first); });

  // A child rolls; what it then signs the parent takes, and its own old signature too.
  memory.age(kHour);
  char from_child[44];
  int channel[2];
  assert_int_equal(pipe(channel), 0);
  assert_child([&] {
    const auto view = make_shared_signer(memory.get());
    const std::string mac = signature(*view, "text");
    return write(channel[1], mac.data(), 44) == 44;
  });
  assert_true(read(channel[0], from_child, 44) == 44);
  close(channel[0]);
  close(channel[1]);
  assert_int_equal(memory.region().generation, 2);
  assert_true(mine->verify("text", std::string_view(from_child, 44)));
  assert_true(mine->verify("text", first));
  assert_text(signature(*mine, "text"), std::string_view(from_child, 44));
}

void killed_while_rolling(void**) {
  const Mapping memory;
  assert_true(init_shared_signer(memory.get(), kHour).ok());
  SharedSignerRegion& region = memory.region();
  const std::string first = signature(*make_shared_signer(memory.get()), "text");
  // The worst moment: the mutex held, the next slot half written, nothing published.
  const int status = status_of(in_child([&] {
    pthread_mutex_lock(&region.mutex);
    std::memset(memory.slot(2).secret, 0xee, 16);
    memory.slot(2).previous_too = 1;
    kill(getpid(), SIGKILL);
    return true;
  }));
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  alarm(10);
  assert_true(make_shared_signer(memory.get())->verify("text", first));
  memory.age(kHour);
  assert_true(make_shared_signer(memory.get())->verify("text", first));
  assert_int_equal(region.generation, 2);
  // Killed after the publishing store: the new state holds.
  status_of(in_child([&] {
    pthread_mutex_lock(&region.mutex);
    std::memset(memory.slot(3).secret, 0x33, 32);
    memory.slot(3).born_ms = steady_ms();
    memory.slot(3).previous_too = 1;
    region.generation.store(3);
    kill(getpid(), SIGKILL);
    return true;
  }));
  const auto view = make_shared_signer(memory.get());
  const auto known = make_fixed_signer(Secret(ByteView(memory.slot(3).secret, 32)));
  assert_text(signature(*view, "text"), signature(*known, "text"));
  alarm(0);
}

// Signs and checks as fast as it can; false when a signature younger than a period is refused.
bool hammer(SignerSecrets& secrets, std::int64_t period_ms, std::int64_t for_ms) {
  const std::int64_t end = steady_ms() + for_ms;
  while (steady_ms() < end) {
    const std::int64_t begun = steady_ms();
    const auto mac = secrets.sign("text");
    if (!mac.ok()) return false;
    const bool good = secrets.verify("text", base64_encode(*mac));
    if (!good && steady_ms() - begun < period_ms) return false;
  }
  return true;
}

void killed_at_any_moment(void**) {
  const Mapping memory;
  assert_true(init_shared_signer(memory.get(), 1).ok());
  const auto mine = make_shared_signer(memory.get());
  alarm(60);
  for (int round = 0; round < 40; ++round) {
    std::vector<pid_t> children;
    for (int i = 0; i < 2; ++i)
      children.push_back(in_child([&] { return hammer(*mine, 1, 60 * 1000); }));
    std::this_thread::sleep_for(std::chrono::microseconds(300 + 173 * (round % 20)));
    for (const pid_t pid : children) kill(pid, SIGKILL);
    for (const pid_t pid : children) {
      const int status = status_of(pid);
      assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    assert_true(hammer(*mine, 1, 3));
  }
  alarm(0);
  assert_true(memory.region().generation > 40);
}

void processes_roll_together(void**) {
  const Mapping memory;
  constexpr std::int64_t kPeriod = 50;
  assert_true(init_shared_signer(memory.get(), kPeriod).ok());
  const std::int64_t begun = steady_ms();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(in_child([&] {
      const auto view = make_shared_signer(memory.get());
      return hammer(*view, kPeriod, 600);
    }));
  }
  for (const pid_t pid : children) assert_int_equal(status_of(pid), 0);
  // Each period is rolled once, however many processes find it over.
  const auto rolls = static_cast<std::int64_t>(memory.region().generation) - 1;
  assert_true(rolls >= 2);
  assert_true(rolls <= (steady_ms() - begun) / kPeriod);
}

void threads_roll_together(void**) {
  const Mapping memory;
  constexpr std::int64_t kPeriod = 20;
  assert_true(init_shared_signer(memory.get(), kPeriod).ok());
  const auto view = make_shared_signer(memory.get());
  const auto fixed = make_fixed_signer(Secret(std::string_view("x")));
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&] {
      if (hammer(*view, kPeriod, 300) && hammer(*fixed, kHour, 10)) ++good;
    });
  for (auto& thread : threads) thread.join();
  assert_int_equal(good, 6);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(secret_files),
      cmocka_unit_test(binary_secrets_become_what_java_makes_of_them),
      cmocka_unit_test(region_rolls),
      cmocka_unit_test(region_outlives_graceful_restarts),
      cmocka_unit_test(unprepared_region),
      cmocka_unit_test(processes_agree),
      cmocka_unit_test(killed_while_rolling),
      cmocka_unit_test(killed_at_any_moment),
      cmocka_unit_test(processes_roll_together),
      cmocka_unit_test(threads_roll_together),
  };
  return cmocka_run_group_tests_name("signer", tests, nullptr, nullptr);
}
