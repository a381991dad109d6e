/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into httpd by test_slow_groups.py: a directory service that hangs. Users named slow-... are members of group 0; as long
 * as the file of KMS_TEST_HOLD is there, no question about them is answered. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char*, struct passwd*, char*, size_t, struct passwd**);

static int is_slow(const char* name) {
  return strncmp(name, "slow-", 5) == 0;
}

int getpwnam_r(const char* name, struct passwd* entry, char* buffer, size_t size, struct passwd** found) {
  const char* hold = getenv("KMS_TEST_HOLD");
  size_t length = strlen(name) + 1;
  if (!is_slow(name)) return ((lookup*)dlsym(RTLD_NEXT, "getpwnam_r"))(name, entry, buffer, size, found);
  while (hold != NULL && access(hold, F_OK) == 0) usleep(20000);
  *found = NULL;
  if (size < length) return ERANGE;
  memset(entry, 0, sizeof *entry);
  entry->pw_name = entry->pw_passwd = entry->pw_gecos = entry->pw_dir = entry->pw_shell = memcpy(buffer, name, length);
  entry->pw_uid = 65534;
  *found = entry;
  return 0;
}
