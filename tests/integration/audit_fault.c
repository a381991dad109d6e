/* SPDX-License-Identifier: Apache-2.0
 * Preloaded into httpd: makes the file of the audit log fail, as a broken disk does, while a file of a certain name
 * exists. FAULT_TARGET is the log, FAULT_FOLDER holds the switches:
 *   write  each write ends with EIO
 *   torn   each write takes half of its bytes, the one that wants to go on ends with EIO
 *   short  each write takes half of its bytes
 *   sync   fdatasync and fsync end with EIO
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_target(int fd) {
  const char *path = getenv("FAULT_TARGET");
  struct stat open_file, wanted;
  return path != NULL && fstat(fd, &open_file) == 0 && stat(path, &wanted) == 0 && open_file.st_ino == wanted.st_ino &&
         open_file.st_dev == wanted.st_dev;
}

static int is_on(const char *name) {
  const char *folder = getenv("FAULT_FOLDER");
  char path[512];
  if (folder == NULL) return 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return access(path, F_OK) == 0;
}

static int broken(void) {
  errno = EIO;
  return -1;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  static ssize_t (*next)(int, const struct iovec *, int);
  static __thread int torn_before;
  struct iovec half[8];
  size_t all = 0, left;
  int i, used = 0;
  if (next == NULL) next = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
  if (!is_target(fd)) return next(fd, parts, count);
  if (is_on("write")) return broken();
  if (!is_on("torn") && !is_on("short")) {
    torn_before = 0;
    return next(fd, parts, count);
  }
  if (is_on("torn") && torn_before) {
    torn_before = 0;
    return broken();
  }
  torn_before = is_on("torn");
  for (i = 0; i < count; ++i) all += parts[i].iov_len;
  left = all > 1 ? all / 2 : all;
  for (i = 0; i < count && used < 8 && left > 0; ++i) {
    half[used] = parts[i];
    if (half[used].iov_len > left) half[used].iov_len = left;
    left -= half[used++].iov_len;
  }
  return next(fd, half, used);
}

static int sync_with(const char *name, int fd) {
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  return is_target(fd) && is_on("sync") ? broken() : next(fd);
}

int fdatasync(int fd) { return sync_with("fdatasync", fd); }
int fsync(int fd) { return sync_with("fsync", fd); }
