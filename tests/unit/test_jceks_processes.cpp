// SPDX-License-Identifier: Apache-2.0
// Several processes on one keystore: nothing is lost, everything is seen, and a writer may die
// anywhere.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <functional>
#include <random>
#include <set>

#include "core/clock.h"
#include "core/file_io.h"
#include "jceks_util.h"

using namespace kms;
using namespace kms::jceks;
using unit::aes;
using unit::assert_error;
using unit::assert_text;
using unit::Log;
using unit::must;
using unit::open_or_fail;
using unit::TempDir;

namespace {

// Runs body in a child, which ends with its result.
pid_t spawn(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  assert_true(pid > 0);
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  assert_int_equal(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Two one-byte channels between a test and its child.
class Channel {
 public:
  Channel() {
    if (::pipe(fds_) != 0) _fail("pipe", 0);
  }
  ~Channel() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  void say(char c = '.') {
    if (::write(fds_[1], &c, 1) != 1) ::_exit(99);
  }
  char hear() {
    char c = 0;
    return ::read(fds_[0], &c, 1) == 1 ? c : 0;
  }
  int reader() const { return fds_[0]; }

 private:
  int fds_[2];
};

void two_writers_lose_nothing(void**) {
  constexpr int kKeys = 200;
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto parent = must(unit::try_open(path, log));
  auto write = [&](int who) {
    if (!parent->attach().ok()) return 1;
    for (int i = 0; i < kKeys; ++i) {
      const std::string name = std::to_string(who) + "-" + std::to_string(i);
      if (!parent->create(name, aes(), nullptr).ok()) return 2;
      // Both roll the same key.
      if (i % 10 == 0 && !parent->roll("shared", nullptr).ok()) return 3;
    }
    return 0;
  };
  must(open_or_fail(path, log)->create("shared", aes(), nullptr));
  const pid_t a = spawn([&] { return write(1); }), b = spawn([&] { return write(2); });
  assert_int_equal(wait_for(a), 0);
  assert_int_equal(wait_for(b), 0);
  auto store = open_or_fail(path, log);
  assert_int_equal(store->names()->size(), 2 * kKeys + 1);
  assert_int_equal((*store->metadata("shared"))->versions, 1 + 2 * kKeys / 10);
  assert_int_equal(store->versions("shared")->size(), 1 + 2 * kKeys / 10);
  assert_int_equal(unit::entries_of(path).size(), 4 * kKeys + 1 + 1 + 2 * kKeys / 10);
}

// What one process was told is done, the next call in another one sees, without poll().
void changes_are_seen_at_once(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = must(unit::try_open(path, log));
  Channel go, done;
  const pid_t child = spawn([&] {
    if (!store->attach().ok()) return 1;
    for (int i = 0; i < 20; ++i) {
      go.hear();
      const std::string name = "k" + std::to_string(i);
      auto v = store->current_version(name);
      if (!v.ok() || *v == nullptr) return 2;
      if (i % 2 == 1 && !store->roll(name, nullptr).ok()) return 3;
      if (i % 2 == 0 && !store->remove(name).ok()) return 4;
      done.say();
    }
    return 0;
  });
  assert_true(store->attach().ok());
  for (int i = 0; i < 20; ++i) {
    const std::string name = "k" + std::to_string(i);
    must(store->create(name, aes(), nullptr));
    go.say();
    assert_int_equal(done.hear(), '.');
    if (i % 2 == 1) assert_text((*store->current_version(name))->version_name, name + "@1");
    if (i % 2 == 0) assert_true(*store->version(name + "@0") == nullptr);
  }
  assert_int_equal(wait_for(child), 0);
}

// The parent's snapshot serves the children as long as the file is the same.
void children_inherit_what_was_opened(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  must(open_or_fail(path, log)->create("k", aes(), nullptr));
  auto store = must(unit::try_open(path, log));
  const VersionPtr before = *store->version("k@0");
  const pid_t child = spawn([&] {
    if (!store->attach().ok()) return 1;
    return *store->version("k@0") == before && log.count("KMS0106") == 0 ? 0 : 2;
  });
  assert_int_equal(wait_for(child), 0);
}

const char* g_die_at = "";
void die_there(std::string_view step) {
  if (step == g_die_at) ::_exit(42);
}

void a_writer_may_die_at_every_step(void**) {
  for (const char* step :
       {"created", "written", "synced", "prepared", "renamed", "directory-synced"}) {
    TempDir dir;
    Log log;
    const std::string path = dir.path("ks");
    auto store = must(unit::try_open(path, log));
    must(open_or_fail(path, log)->create("old", aes(), nullptr));
    const pid_t child = spawn([&] {
      g_die_at = step;
      replace_file_step = die_there;
      (void)store->attach();
      (void)store->create("new", aes(), nullptr);
      return 1;
    });
    assert_int_equal(wait_for(child), 42);
    const bool renamed = step[0] == 'r' || step[0] == 'd';
    // A server that goes on notices within a poll, and its next write keeps the change.
    assert_true(store->attach().ok());
    store->poll();
    assert_int_equal(store->names()->size(), renamed ? 2 : 1);
    must(store->create("later", aes(), nullptr));
    assert_int_equal(store->names()->size(), renamed ? 3 : 2);
    assert_false(unit::exists(dir.path(".ks.tmp")));
    auto again = open_or_fail(path, log);
    assert_int_equal(again->names()->size(), renamed ? 3 : 2);
    assert_true(*again->version("old@0") != nullptr);
  }
}

// Killed without warning, at any time: what was acknowledged is there, and the rest opens.
void killed_writers(void**) {
  std::mt19937 random(17);
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  int acknowledged = 0;
  for (int round = 0; round < 15; ++round) {
    Channel done;
    auto store = must(unit::try_open(path, log));
    const pid_t child = spawn([&] {
      if (!store->attach().ok()) return 1;
      for (int i = 0;; ++i) {
        const std::string name = std::to_string(round) + "-" + std::to_string(i);
        if (!store->create(name, aes(), nullptr).ok()) return 2;
        done.say();
      }
    });
    assert_int_equal(done.hear(), '.');
    ++acknowledged;
    ::usleep(static_cast<useconds_t>(random() % 60000));
    ::kill(child, SIGKILL);
    assert_int_equal(wait_for(child), 128 + SIGKILL);
    ::fcntl(done.reader(), F_SETFL, O_NONBLOCK);
    while (done.hear() == '.') ++acknowledged;
    const auto now = static_cast<int>(open_or_fail(path, log)->names()->size());
    assert_in_range(now, acknowledged, acknowledged + 1);
    acknowledged = now;
  }
}

void busy_lock_gives_up(void**) {
  TempDir dir;
  Log log;
  JceksOptions options = unit::options_for(dir.path("ks"));
  options.lock_timeout_ms = 150;
  auto store = must(open_store(options, Secret(std::string_view("none")), log, false));
  assert_true(store->attach().ok());
  must(store->create("k", aes(), nullptr));
  const int fd = ::open(dir.path(".ks.lock").c_str(), O_RDWR);
  assert_int_equal(::flock(fd, LOCK_EX), 0);
  const auto begin = steady_ms();
  assert_error(store->create("l", aes(), nullptr), ErrorKind::unavailable, dir.path(".ks.lock"));
  assert_in_range(steady_ms() - begin, 150, 5000);
  assert_true(*store->version("k@0") != nullptr);  // readers do not care
  ::close(fd);
  must(store->create("l", aes(), nullptr));
}

void lock_file_taken_away(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks"), lock = dir.path(".ks.lock");
  auto a = open_or_fail(path, log);
  auto b = open_or_fail(path, log);
  must(a->create("k", aes(), nullptr));
  assert_true(*b->version("k@0") != nullptr);
  std::filesystem::remove(lock);
  must(a->create("l", aes(), nullptr));  // makes a new one
  assert_true(unit::exists(lock));
  b->poll();
  assert_int_equal(log.count("KMS0112"), 2);
  assert_true(*b->version("l@0") != nullptr);
  must(b->create("m", aes(), nullptr));
  assert_true(*a->version("m@0") != nullptr);  // at once again
  // Replaced by another file.
  unit::write_file(dir.path("x"), std::string(4096, '\0'));
  std::filesystem::rename(dir.path("x"), lock);
  must(b->create("n", aes(), nullptr));
  a->poll();
  assert_int_equal(log.count("KMS0112"), 4);
  assert_int_equal(a->names()->size(), 4);
  // Cut to nothing.
  assert_int_equal(::truncate(lock.c_str(), 0), 0);
  a->poll();
  assert_int_equal(log.count("KMS0112"), 5);
  assert_true(*a->version("k@0") != nullptr);
  must(b->create("o", aes(), nullptr));
  assert_int_equal(a->names()->size(), 5);
}

void vanished_file(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  must(store->create("k", aes(), nullptr));
  std::filesystem::rename(path, dir.path("away"));
  assert_error(store->create("l", aes(), nullptr), ErrorKind::unavailable, "has vanished");
  assert_false(unit::exists(path));
  for (int i = 0; i < 3; ++i) store->poll();
  assert_int_equal(log.count("KMS0108"), 1);
  assert_true(*store->version("k@0") != nullptr);
  std::filesystem::rename(dir.path("away"), path);
  must(store->create("l", aes(), nullptr));
  assert_int_equal(open_or_fail(path, log)->names()->size(), 2);
}

void damaged_file(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  must(store->create("k", aes(), nullptr));
  const std::string good = unit::read_file(path);
  unit::write_file(path, good.substr(0, good.size() - 1));
  for (int i = 0; i < 3; ++i) store->poll();
  assert_int_equal(log.count("KMS0107"), 1);
  assert_true(*store->version("k@0") != nullptr);
  assert_error(store->create("l", aes(), nullptr), ErrorKind::unavailable, "cannot be read");
  assert_int_equal(unit::read_file(path).size(), good.size() - 1);
  unit::write_file(path, good);
  store->poll();
  assert_int_equal(log.count("KMS0109"), 1);
  must(store->create("l", aes(), nullptr));
  assert_int_equal(open_or_fail(path, log)->names()->size(), 2);
}

std::string g_meddle;  // file that somebody copies over the keystore in the last moment
void meddle(std::string_view step) {
  if (step == "prepared")
    std::filesystem::copy_file(g_meddle, g_meddle.substr(0, g_meddle.rfind('.')),
                               std::filesystem::copy_options::overwrite_existing);
}

// Somebody who does not know our lock is not written over, as far as that can be seen.
void changed_in_the_same_moment(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  g_meddle = path + ".other";
  must(open_or_fail(g_meddle, log)->create("theirs", aes(), nullptr));
  auto store = open_or_fail(path, log);
  must(store->create("k", aes(), nullptr));
  replace_file_step = meddle;
  auto made = store->create("ours", aes(), nullptr);
  replace_file_step = nullptr;
  assert_error(made, ErrorKind::unavailable, "by somebody else in the same moment");
  assert_int_equal(log.count("KMS0110"), 1);
  must(store->create("ours", aes(), nullptr));
  assert_true(*store->names() == std::vector<std::string>({"ours", "theirs"}));
}

// Told of a commit that it cannot read, a process does not answer with what it knew before.
void commit_that_cannot_be_read(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto a = open_or_fail(path, log);
  auto b = open_or_fail(path, log);
  must(a->create("k", aes(), nullptr));
  assert_true(*b->version("k@0") != nullptr);
  must(a->roll("k", nullptr));
  const std::string good = unit::read_file(path);
  unit::write_file(path, good.substr(0, 100));
  assert_error(b->current_version("k"), ErrorKind::unavailable, "cannot be read");
  assert_error(b->names(), ErrorKind::unavailable, "cannot be read");
  assert_int_equal(log.count("KMS0107"), 1);
  b->poll();
  assert_error(b->version("k@0"), ErrorKind::unavailable, "cannot be read");
  unit::write_file(path, good);
  assert_text((*b->current_version("k"))->version_name, "k@1");
}

// keytool, cp and a restored backup know nothing of our lock.
void replaced_behind_our_back(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto a = open_or_fail(path, log);
  auto b = open_or_fail(path, log);
  must(a->create("k", aes(), nullptr));
  const VersionPtr opened = *a->version("k@0");
  must(open_or_fail(dir.path("other"), log)->create("n", aes(), nullptr));
  std::filesystem::copy_file(dir.path("other"), path,
                             std::filesystem::copy_options::overwrite_existing);
  a->poll();
  assert_true(*a->names() == std::vector<std::string>{"n"});
  assert_true(*b->names() == std::vector<std::string>{"n"});  // told by the first one's poll
  // invalidate looks at the file, too.
  std::filesystem::remove(path);
  must(open_or_fail(path, log)->create("o", aes(), nullptr));
  assert_true(a->invalidate("o").ok());
  assert_true(*a->names() == std::vector<std::string>{"o"});
  assert_int_equal(opened->material.size(), 16);  // a reference that was handed out stays good
}

// Entries that did not change are not opened anew after a reload.
void unchanged_entries_are_shared(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto a = open_or_fail(path, log);
  auto b = open_or_fail(path, log);
  must(a->create("k", aes(), nullptr));
  const VersionPtr first = *b->version("k@0");
  must(a->roll("k", nullptr));
  assert_text((*b->current_version("k"))->version_name, "k@1");
  assert_ptr_equal((*b->version("k@0")).get(), first.get());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(two_writers_lose_nothing),
      cmocka_unit_test(changes_are_seen_at_once),
      cmocka_unit_test(children_inherit_what_was_opened),
      cmocka_unit_test(a_writer_may_die_at_every_step),
      cmocka_unit_test(killed_writers),
      cmocka_unit_test(busy_lock_gives_up),
      cmocka_unit_test(lock_file_taken_away),
      cmocka_unit_test(vanished_file),
      cmocka_unit_test(damaged_file),
      cmocka_unit_test(changed_in_the_same_moment),
      cmocka_unit_test(commit_that_cannot_be_read),
      cmocka_unit_test(replaced_behind_our_back),
      cmocka_unit_test(unchanged_entries_are_shared),
  };
  return cmocka_run_group_tests_name("jceks processes", tests, nullptr, nullptr);
}
