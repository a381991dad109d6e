// SPDX-License-Identifier: Apache-2.0
// How the store meets its file: passwords, modes, owners, links, and disks that are full or closed.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "jceks_util.h"

using namespace kms;
using namespace kms::jceks;
using unit::aes;
using unit::assert_error;
using unit::Log;
using unit::must;
using unit::open_or_fail;
using unit::TempDir;

namespace {

void passwords(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  must(open_or_fail(path, log, "")->create("k", aes(), nullptr));
  assert_error(
      unit::try_open(path, log, "none"), ErrorKind::wrong_password,
      "Can't load keystore " + path + ": Keystore was tampered with, or password was incorrect");
  assert_true(*open_or_fail(path, log, "")->version("k@0") != nullptr);
  // Beyond ASCII a store may be opened, but nothing sealed.
  auto store = open_or_fail(dir.path("other"), log, "p\xC3\xA9");
  assert_int_equal(log.count("KMS0104"), 1);
  assert_error(store->create("k", aes(), nullptr), ErrorKind::io, "Password is not ASCII");
}

void opening_refusals(void**) {
  TempDir dir;
  Log log;
  assert_error(unit::try_open(dir.path("no/ks"), log), ErrorKind::io,
               "the directory " + dir.path("no") + " does not exist");
  JceksOptions relative = unit::options_for("ks");
  assert_error(open_store(relative, Secret(), log, false), ErrorKind::configuration, "absolute");
  std::filesystem::create_directory(dir.path("ks"));
  assert_error(unit::try_open(dir.path("ks"), log), ErrorKind::io, "not a file");
  unit::write_file(dir.path(".other.lock"), std::string(5000, 'x'));
  assert_error(unit::try_open(dir.path("other"), log), ErrorKind::io, "not a lock file");
}

void check_only_changes_nothing(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  must(open_or_fail(path, log)->create("k", aes(), nullptr));
  std::filesystem::rename(path, path + "_NEW");
  std::filesystem::remove(dir.path(".ks.lock"));
  {
    auto store = unit::try_open(path, log, "none", true);
    assert_true(store.ok());
    assert_true((*store)->attach().ok());
    assert_int_equal((*store)->names()->size(), 1);
    assert_true(*(*store)->version("k@0") != nullptr);
    (*store)->poll();
    assert_error((*store)->create("l", aes(), nullptr), ErrorKind::unsupported, "check only");
    assert_int_equal((*store)->names()->size(), 1);
  }
  assert_true(unit::exists(path + "_NEW"));
  assert_false(unit::exists(path));
  assert_false(unit::exists(dir.path(".ks.lock")));
  assert_int_equal(log.count("KMS0108"), 0);
}

void mode_and_links_are_kept(void**) {
  TempDir dir;
  Log log;
  std::filesystem::create_directory(dir.path("real"));
  const std::string target = dir.path("real/store"), path = dir.path("ks");
  must(open_or_fail(target, log)->create("k", aes(), nullptr));
  ::chmod(target.c_str(), 0640);
  if (::geteuid() == 0) assert_int_equal(::chown(target.c_str(), 12345, 54321), 0);
  assert_int_equal(::symlink("real/store", path.c_str()), 0);
  unit::write_file(dir.path("real/.store.crc"), std::string_view("crc"));
  must(open_or_fail(path, log)->create("l", aes(), nullptr));
  assert_true(std::filesystem::is_symlink(path));
  struct stat st;
  ::stat(target.c_str(), &st);
  assert_int_equal(st.st_mode & 07777, 0640);
  if (::geteuid() == 0) {
    assert_int_equal(st.st_uid, 12345);
    assert_int_equal(st.st_gid, 54321);
  }
  assert_false(unit::exists(dir.path("real/.store.crc")));
  assert_int_equal(open_or_fail(target, log)->names()->size(), 2);
}

void root_parent_leaves_the_files_to_the_server(void**) {
  if (::geteuid() != 0) {
    print_message("skipped: needs root\n");
    skip();
  }
  TempDir dir;
  Log log;
  JceksOptions options = unit::options_for(dir.path("ks"));
  options.owner_uid = 12345;
  options.owner_gid = 54321;
  auto store = open_store(options, Secret(std::string_view("none")), log, false);
  assert_true(store.ok());
  struct stat st;
  assert_int_equal(::stat(dir.path(".ks.lock").c_str(), &st), 0);
  assert_int_equal(st.st_uid, 12345);
  assert_int_equal(st.st_gid, 54321);
  assert_true((*store)->attach().ok());
  must((*store)->create("k", aes(), nullptr));
  assert_int_equal(::stat(dir.path("ks").c_str(), &st), 0);
  assert_int_equal(st.st_uid, 12345);
  assert_int_equal(st.st_mode & 07777, 0600);
  // A tool that knows no owner takes that of the keystore.
  std::filesystem::remove(dir.path(".ks.lock"));
  must(open_or_fail(dir.path("ks"), log)->roll("k", nullptr));
  assert_int_equal(::stat(dir.path(".ks.lock").c_str(), &st), 0);
  assert_int_equal(st.st_uid, 12345);
  assert_int_equal(::stat(dir.path("ks").c_str(), &st), 0);
  assert_int_equal(st.st_uid, 12345);
  // A second name for the lock file is not given away.
  assert_int_equal(::link(dir.path(".ks.lock").c_str(), dir.path("second").c_str()), 0);
  assert_error(open_store(options, Secret(std::string_view("none")), log, false), ErrorKind::io,
               "not a file of its own");
}

// Every failure of a write leaves file and memory as they were.
void full_disk(void**) {
  TempDir dir;
  Log log;
  const std::string mount = dir.path("tiny");
  std::filesystem::create_directory(mount);
  if (::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=64k") != 0) {
    print_message("skipped: cannot mount a tmpfs: %s\n", std::strerror(errno));
    skip();
  }
  {
    const std::string path = mount + "/ks";
    auto store = open_or_fail(path, log);
    int made = 0;
    Result<VersionPtr> last = VersionPtr();
    for (; made < 1000 && last.ok(); ++made)
      last = store->create("key-" + std::to_string(made), aes(), nullptr);
    --made;
    assert_error(last, ErrorKind::io, "No space left on device");
    assert_int_equal(log.count("KMS0110"), 1);
    assert_int_equal(store->names()->size(), made);
    assert_false(unit::exists(mount + "/.ks.tmp"));
    assert_true(*store->metadata("key-" + std::to_string(made)) == nullptr);
    assert_int_equal(open_or_fail(path, log)->names()->size(), made);
    // With room again, it goes on.
    assert_true(store->remove("key-0").ok());
    must(store->create("again", aes(), nullptr));
  }
  ::umount(mount.c_str());
}

void directory_that_may_not_be_written(void**) {
  if (::geteuid() != 0) {
    print_message("skipped: needs root to become somebody else\n");
    skip();
  }
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  must(open_or_fail(path, log)->create("k", aes(), nullptr));
  ::chmod(path.c_str(), 0644);
  ::chmod(dir.path().c_str(), 0755);
  std::filesystem::remove(dir.path(".ks.lock"));
  const pid_t child = ::fork();
  if (child == 0) {
    Log quiet;
    if (::setgid(12345) != 0 || ::setuid(12345) != 0) ::_exit(10);
    auto store = unit::try_open(path, quiet);
    if (!store.ok() || !(*store)->attach().ok()) ::_exit(11);
    if (quiet.count("KMS0105") != 1) ::_exit(12);
    if (*(*store)->version("k@0") == nullptr) ::_exit(13);
    auto made = (*store)->create("l", aes(), nullptr);
    if (made.ok() || made.error().kind != ErrorKind::io) ::_exit(14);
    if ((*store)->names()->size() != 1) ::_exit(15);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  assert_int_equal(WEXITSTATUS(status), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(passwords),
      cmocka_unit_test(opening_refusals),
      cmocka_unit_test(check_only_changes_nothing),
      cmocka_unit_test(mode_and_links_are_kept),
      cmocka_unit_test(root_parent_leaves_the_files_to_the_server),
      cmocka_unit_test(full_disk),
      cmocka_unit_test(directory_that_may_not_be_written),
  };
  return cmocka_run_group_tests_name("jceks files", tests, nullptr, nullptr);
}
