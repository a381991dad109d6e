/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into httpd by test_health_parts.py: a dead network disk. As long as the file of KMS_TEST_HOLD is there, nobody
 * learns anything of kms-acls.xml. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void wait_for(const char* path) {
  const char* hold = getenv("KMS_TEST_HOLD");
  while (hold != NULL && strstr(path, "/kms-acls.xml") != NULL && access(hold, F_OK) == 0) usleep(20000);
}

int stat(const char* path, struct stat* info) {
  int (*next)(const char*, struct stat*) = (int (*)(const char*, struct stat*))dlsym(RTLD_NEXT, "stat");
  wait_for(path);
  return next(path, info);
}

/* What stat() is made of in glibc before 2.33. */
int __xstat(int version, const char* path, struct stat* info) {
  int (*next)(int, const char*, struct stat*) = (int (*)(int, const char*, struct stat*))dlsym(RTLD_NEXT, "__xstat");
  wait_for(path);
  return next(version, path, info);
}
