// SPDX-License-Identifier: Apache-2.0
// The token journal: what every store does, and how it bears a file that others have touched, and a
// system that fails.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <fstream>
#include <initializer_list>

#include "core/clock.h"
#include "file_token_store_util.h"

using namespace kms;
using unit::assert_contains;
using unit::assert_text;
using unit::done;
using unit::got;
using unit::has;
using unit::Journal;
using unit::token_of;

namespace {

template <class T>
void assert_unavailable(const Result<T>& result, std::string_view text) {
  assert_false(result.ok());
  assert_contains(result.error().message, text);
  assert_true(result.error().kind == ErrorKind::unavailable);
}

void does_what_every_store_does(void**) {
  std::vector<std::unique_ptr<Journal>> journals;
  unit::check_token_store([&] {
    Journal* journal = journals.emplace_back(std::make_unique<Journal>()).get();
    return [journal] { return journal->attached(); };
  });
}

// The same with a file that is written anew all the time.
void does_it_while_shortening(void**) {
  std::vector<std::unique_ptr<Journal>> journals;
  unit::check_token_store([&] {
    Journal* journal = journals.emplace_back(std::make_unique<Journal>()).get();
    journal->compact_bytes = 0;
    return [journal] {
      auto store = journal->attached();
      store->poll();
      return store;
    };
  });
}

void nothing_before_attach(void**) {
  Journal journal;
  const auto store = journal.open();
  assert_unavailable(store->find(token_of(1).identifier), "is not open");
  assert_unavailable(store->add(token_of(1)), "is not open");
  assert_unavailable(store->next_sequence(), "is not open");
  struct stat st;
  assert_int_equal(::stat(journal.path.c_str(), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  store->poll();  // attaches where attach() was not called, or has failed
  assert_false(has(*store, token_of(1).identifier));
}

void files_of_root_go_to_the_server(void**) {
  if (::geteuid() != 0) skip();
  Journal journal;
  FileTokenStoreOptions options;
  options.path = journal.path;
  options.owner_uid = options.owner_gid = 1;
  const auto store = got(open_file_token_store(options, journal.log, false));
  struct stat st;
  for (const std::string& file : {journal.path, journal.lock_path()}) {
    assert_int_equal(::stat(file.c_str(), &st), 0);
    assert_int_equal(st.st_uid, 1);
    assert_int_equal(st.st_gid, 1);
    assert_int_equal(st.st_mode & 077, 0);
  }
}

void mistakes_in_the_configuration(void**) {
  Journal journal;
  auto refused = [&](const std::string& path, std::string_view text) {
    for (const bool check_only : {true, false}) {
      FileTokenStoreOptions options;
      options.path = path;
      const auto store = open_file_token_store(options, journal.log, check_only);
      assert_false(store.ok());
      assert_true(store.error().kind == ErrorKind::configuration);
      assert_contains(store.error().message, text);
      assert_contains(store.error().message, path);
    }
  };
  refused("tokens", "the path is not absolute");
  refused("", "the path is not absolute");
  refused(journal.dir.path("no/tokens"), "does not exist");
  refused(journal.dir.path(), "this is no file");
  const std::string other = journal.dir.write("kms.keystore", std::string(5000, 'k'));
  refused(other, "this is no journal of tokens, and is not touched");
  assert_true(unit::read_file(other) == std::string(5000, 'k'));
  // A check makes nothing.
  assert_true(journal.try_open(true).ok());
  assert_false(journal.exists(""));
  assert_int_equal(::access(journal.lock_path().c_str(), F_OK), -1);
  // An empty file was made by the administrator, for us.
  journal.dir.write("tokens", "");
  const auto store = journal.attached();
  done(store->add(token_of(1)));
  assert_int_equal(journal.log.count("KMS0326"), 1);  // mode 0644
  assert_int_equal(journal.log.count("KMS0322"), 0);
}

void symbolic_link_stays(void**) {
  Journal journal;
  journal.compact_bytes = 0;
  std::filesystem::create_directory(journal.dir.path("real"));
  std::filesystem::create_symlink(journal.dir.path("real/file"), journal.path);
  journal.dir.write("real/file", "");
  const auto store = journal.attached();
  for (std::int32_t i = 1; i < 20; ++i) {
    done(store->add(token_of(i)));
    assert_true(got(store->remove(token_of(i).identifier)));
  }
  store->poll();
  assert_true(std::filesystem::is_symlink(journal.path));
  assert_int_equal(journal.log.count("KMS0314"), 1);
}

// Shorter than what was written to it, and all is there.
void is_shortened(void**) {
  Journal journal;
  journal.compact_bytes = 4096;
  const auto a = journal.attached(), b = journal.attached(), late = journal.attached();
  const KeyPolicy policy{1000, 5000};
  const auto key = got(a->current_key(1000, policy));
  for (std::int32_t i = 1; i <= 10; ++i) done(a->add(token_of(i)));
  assert_true(has(*b, token_of(10).identifier));
  for (std::int32_t i = 0; i < 300; ++i)
    assert_true(got(a->renew(token_of(1 + i % 10).identifier, 3000 + i)));
  const auto before = std::filesystem::file_size(journal.path);
  a->poll();
  assert_int_equal(journal.log.count("KMS0314"), 1);
  const auto after = std::filesystem::file_size(journal.path);
  assert_true(after < before / 10);
  for (const auto* store : {&a, &b}) {
    for (std::int32_t i = 1; i <= 10; ++i)
      assert_int_equal(got((*store)->find(token_of(i).identifier))->renew_ms, 3290 + i - 1);
    assert_true(got((*store)->key(key->id))->secret.equals(key->secret.view()));
  }
  // One who has missed two such changes.
  for (std::int32_t i = 0; i < 300; ++i)
    assert_true(got(b->renew(token_of(1 + i % 10).identifier, 5000 + i)));
  b->poll();
  assert_int_equal(journal.log.count("KMS0314"), 2);
  assert_int_equal(got(late->find(token_of(10).identifier))->renew_ms, 5299);
  done(late->add(token_of(11)));
  assert_true(has(*a, token_of(11).identifier));
  // Numbers go on, though all tokens are gone.
  assert_int_equal(got(a->purge(1000000)), 11);
  a->poll();
  ::unlink(journal.lock_path().c_str());
  const auto fresh = journal.attached();
  assert_int_equal(got(fresh->next_sequence()), 12);
}

void lock_file_taken_away(void**) {
  Journal journal;
  const auto a = journal.attached(), b = journal.attached();
  const std::int32_t first = got(a->next_sequence());
  done(a->add(token_of(first)));
  assert_true(has(*b, token_of(first).identifier));
  ::unlink(journal.lock_path().c_str());
  a->poll();
  done(a->add(token_of(got(a->next_sequence()))));
  // b has counted in the old file; nobody gets a token with a number that is taken.
  const std::int32_t same = got(b->next_sequence());
  assert_unavailable(b->add(token_of(same, "bob")), "please try again");
  const std::int32_t next = got(b->next_sequence());
  assert_true(next > same);
  done(b->add(token_of(next, "bob")));
  assert_true(has(*a, token_of(next, "bob").identifier));
  assert_int_equal(journal.log.count("KMS0327"), 2);
  // Cut to nothing.
  assert_int_equal(::truncate(journal.lock_path().c_str(), 0), 0);
  a->poll();
  b->poll();
  done(a->add(token_of(77)));
  assert_true(has(*b, token_of(77).identifier));
}

void busy_lock_gives_up(void**) {
  Journal journal;
  journal.lock_timeout_ms = 150;
  const auto store = journal.attached();
  done(store->add(token_of(1)));
  const int fd = ::open(journal.lock_path().c_str(), O_RDWR);
  assert_int_equal(::flock(fd, LOCK_EX), 0);
  const auto begin = steady_ms();
  assert_unavailable(store->add(token_of(2)), "token journal is being written by another process");
  assert_in_range(steady_ms() - begin, 150, 5000);
  assert_true(has(*store, token_of(1).identifier));  // readers do not care
  const auto before_poll = steady_ms();
  store->poll();
  assert_in_range(steady_ms() - before_poll, 0, 100);
  ::close(fd);
  done(store->add(token_of(2)));
  assert_int_equal(journal.log.count("KMS0324"), 1);
  assert_int_equal(journal.log.count("KMS0325"), 1);
}

// --- the system fails

// The disk is full after some bytes, as far as this process goes.
void disk_is_full(void**) {
  ::signal(SIGXFSZ, SIG_IGN);
  Journal journal;
  const auto a = journal.attached(), b = journal.attached();
  done(a->add(token_of(1)));
  struct rlimit old;
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto full = std::filesystem::file_size(journal.path);
  for (const rlim_t room : {0, 1, 20, 40}) {
    struct rlimit tight = old;
    tight.rlim_cur = full + room;
    assert_int_equal(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_unavailable(a->add(token_of(2)), "Can't write");
    assert_unavailable(a->remove(token_of(1).identifier), "Can't write");
    assert_unavailable(a->renew(token_of(1).identifier, 9000), "Can't write");
    assert_unavailable(b->current_key(1000, {1000, 5000}), "Can't write");
    assert_int_equal(::setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(std::filesystem::file_size(journal.path), full);
    assert_false(has(*a, token_of(2).identifier));
    assert_int_equal(got(b->find(token_of(1).identifier))->renew_ms, 2000);
  }
  assert_int_equal(journal.log.count("KMS0324"), 2);  // once for each store
  for (int i = 0; i < 3; ++i) a->poll();  // what it tidies up is no change
  assert_true(a->condition().state == HealthState::degraded);
  done(a->add(token_of(2)));
  assert_true(a->condition().state == HealthState::good);
  assert_true(has(*b, token_of(2).identifier));
  assert_true(has(*journal.attached(), token_of(2).identifier));
  assert_int_equal(journal.log.count("KMS0325"), 1);
  assert_int_equal(journal.log.count("KMS0321"), 0);
}

// No room for a shorter file: the old one goes on.
void no_room_to_shorten(void**) {
  ::signal(SIGXFSZ, SIG_IGN);
  Journal journal;
  const auto store = journal.attached();
  journal.compact_bytes = 0;
  const auto shortens = journal.attached();
  for (std::int32_t i = 1; i <= 40; ++i) {
    done(store->add(token_of(i)));
    if (i > 5) assert_true(got(store->remove(token_of(i).identifier)));
  }
  struct rlimit old, tight;
  ::getrlimit(RLIMIT_FSIZE, &old);
  tight = old;
  tight.rlim_cur = 100;
  assert_int_equal(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  for (int i = 0; i < 3; ++i) shortens->poll();
  assert_int_equal(::setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_int_equal(journal.log.count("KMS0313"), 1);
  assert_int_equal(::access(journal.dir.path(".tokens.tmp").c_str(), F_OK), -1);
  done(shortens->add(token_of(50)));
  assert_true(has(*store, token_of(50).identifier));
  assert_true(has(*shortens, token_of(5).identifier));
}

// Makes the calls fail in this thread, for ever. False where the system does not let us.
bool make_fail(std::initializer_list<int> calls, std::uint32_t error) {
  std::vector<struct sock_filter> code;
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  for (const int call : calls) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  struct sock_fprog program = {static_cast<unsigned short>(code.size()), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Runs body in a thread where the calls fail. False where the system does not let us.
bool with_failing(std::initializer_list<int> calls, int error, const std::function<void()>& body) {
  bool armed = false;
  std::thread([&] {
    armed = make_fail(calls, static_cast<std::uint32_t>(error));
    if (armed) body();
  }).join();
  return armed;
}

void sync_fails(void**) {
  Journal journal;
  const auto a = journal.attached(), b = journal.attached();
  done(a->add(token_of(1)));
  const bool armed = with_failing({SYS_fdatasync, SYS_fsync}, EIO, [&] {
    const auto added = a->add(token_of(2));
    if (!added.ok()) assert_contains(added.error().message, "after a power cut is unknown");
    assert_false(added.ok());
    assert_false(a->add(token_of(3)).ok());
  });
  if (!armed) skip();
  assert_false(has(*a, token_of(2).identifier));
  assert_false(has(*b, token_of(2).identifier));
  // What the disk has of such a file is not known: the next write makes another one.
  struct stat before, after;
  assert_int_equal(::stat(journal.path.c_str(), &before), 0);
  done(a->add(token_of(3)));
  assert_int_equal(::stat(journal.path.c_str(), &after), 0);
  assert_true(before.st_ino != after.st_ino);
  assert_true(has(*b, token_of(1).identifier));
  assert_true(has(*b, token_of(3).identifier));
  assert_false(has(*journal.attached(), token_of(2).identifier));
}

// Looking up a token asks the system for nothing.
void look_up_makes_no_system_call(void**) {
  Journal journal;
  const auto store = journal.attached();
  for (std::int32_t i = 1; i <= 100; ++i) done(store->add(token_of(i)));
  int found = 0;
  const bool armed = with_failing(
      {SYS_fstat, SYS_newfstatat, SYS_pread64, SYS_read, SYS_openat, SYS_flock, SYS_futex}, EIO,
      [&] {
        for (std::int32_t i = 1; i <= 100; ++i) {
          const auto token = store->find(token_of(i).identifier);
          found += token.ok() && *token != nullptr;
        }
      });
  if (!armed) skip();
  assert_int_equal(found, 100);
}

void file_cannot_be_read(void**) {
  Journal journal;
  const auto a = journal.attached(), b = journal.attached();
  done(a->add(token_of(1)));
  const bool armed = with_failing({SYS_pread64}, EIO, [&] {
    // The change is not answered with what was before it.
    assert_unavailable(b->find(token_of(1).identifier), "Can't read");
    assert_unavailable(b->key(1), "Can't read");
    assert_unavailable(b->add(token_of(2)), "Can't read");
  });
  if (!armed) skip();
  assert_true(has(*b, token_of(1).identifier));
  assert_int_equal(journal.log.count("KMS0324"), 1);
  b->poll();
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(does_what_every_store_does),
      cmocka_unit_test(does_it_while_shortening),
      cmocka_unit_test(nothing_before_attach),
      cmocka_unit_test(files_of_root_go_to_the_server),
      cmocka_unit_test(mistakes_in_the_configuration),
      cmocka_unit_test(symbolic_link_stays),
      cmocka_unit_test(is_shortened),
      cmocka_unit_test(lock_file_taken_away),
      cmocka_unit_test(busy_lock_gives_up),
      cmocka_unit_test(disk_is_full),
      cmocka_unit_test(no_room_to_shorten),
      cmocka_unit_test(sync_fails),
      cmocka_unit_test(look_up_makes_no_system_call),
      cmocka_unit_test(file_cannot_be_read),
  };
  return cmocka_run_group_tests_name("token store", tests, nullptr, nullptr);
}
