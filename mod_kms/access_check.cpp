// SPDX-License-Identifier: Apache-2.0
#include "access_check.h"

#include <errno.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

namespace kms {
namespace {

enum Verdict { kFine = 0, kFolder = 10, kFile = 11, kCannotDrop = 12 };

[[noreturn]] void try_as(const char* file, const char* folder, const char* user, uid_t uid,
                         gid_t gid) {
  if (initgroups(user, gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0) _exit(kCannotDrop);
  if (access(folder, W_OK | X_OK) != 0) _exit(kFolder);
  if (access(file, R_OK | W_OK) != 0 && errno != ENOENT) _exit(kFile);
  _exit(kFine);
}

}  // namespace

std::string access_problem(const std::string& keystore, const std::string& user, uid_t uid,
                           gid_t gid) {
  const auto slash = keystore.rfind('/');
  const std::string folder = slash == 0 ? "/" : keystore.substr(0, slash);
  const pid_t child = fork();
  if (child < 0) return {};
  if (child == 0) try_as(keystore.c_str(), folder.c_str(), user.c_str(), uid, gid);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const int verdict = WIFEXITED(status) ? WEXITSTATUS(status) : kFine;
  const std::string who =
      "user " + user + " (uid " + std::to_string(uid) + "), as which httpd serves,";
  if (verdict == kFolder)
    return who + " cannot write in " + folder + ", where the keystore " + keystore + " is";
  if (verdict == kFile) return who + " cannot read and write the keystore " + keystore;
  return {};
}

}  // namespace kms
