// SPDX-License-Identifier: Apache-2.0
#include "access_check.h"

#include <errno.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

namespace kms {
namespace {

enum Verdict { kFine = 0, kFolder = 10, kFile = 11, kCannotDrop = 12 };

[[noreturn]] void try_as(const char* user, uid_t uid, gid_t gid, Verdict (*look)(const void*),
                         const void* what) {
  if (initgroups(user, gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0) _exit(kCannotDrop);
  _exit(look(what));
}

// What a short-lived child says that has become the user; kFine when there can be none.
Verdict ask_as(const std::string& user, uid_t uid, gid_t gid, Verdict (*look)(const void*),
               const void* what) {
  const pid_t child = fork();
  if (child < 0) return kFine;
  if (child == 0) try_as(user.c_str(), uid, gid, look, what);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? static_cast<Verdict>(WEXITSTATUS(status)) : kFine;
}

struct Keystore {
  const char *file, *folder;
};

Verdict look_at_keystore(const void* what) {
  const auto& [file, folder] = *static_cast<const Keystore*>(what);
  if (access(folder, W_OK | X_OK) != 0) return kFolder;
  if (access(file, R_OK | W_OK) != 0 && errno != ENOENT) return kFile;
  return kFine;
}

Verdict look_whether_readable(const void* file) {
  return access(static_cast<const char*>(file), R_OK) == 0 ? kFine : kFile;
}

}  // namespace

std::string access_problem(const std::string& keystore, const std::string& user, uid_t uid,
                           gid_t gid) {
  const auto slash = keystore.rfind('/');
  const std::string folder = slash == 0 ? "/" : keystore.substr(0, slash);
  const Keystore what{keystore.c_str(), folder.c_str()};
  const Verdict verdict = ask_as(user, uid, gid, look_at_keystore, &what);
  const std::string who =
      "user " + user + " (uid " + std::to_string(uid) + "), as which httpd serves,";
  if (verdict == kFolder)
    return who + " cannot write in " + folder + ", where the keystore " + keystore + " is";
  if (verdict == kFile) return who + " cannot read and write the keystore " + keystore;
  return {};
}

bool may_read(const std::string& file, const std::string& user, uid_t uid, gid_t gid) {
  if (uid == static_cast<uid_t>(-1)) return look_whether_readable(file.c_str()) == kFine;
  return ask_as(user, uid, gid, look_whether_readable, file.c_str()) == kFine;
}

}  // namespace kms
