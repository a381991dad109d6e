/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#11 module for tests: that of KMS_TEST_HSM_LIBRARY with faults, which files of the folder KMS_TEST_HSM_FAULTS
 * ask for:
 *   hold       while it is there C_Encrypt and C_GenerateKey do not come back
 *   error      one of them returns the number in it, and removes it
 *   delay      C_Encrypt takes so many microseconds longer
 *   sessions   C_OpenSession gives CKR_SESSION_COUNT beyond the number in it
 * Each call of C_Encrypt adds a byte to the file calls there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST real, faulty;
static int sessions;

static const char* fault_file(const char* name, char* buffer, size_t size) {
  const char* folder = getenv("KMS_TEST_HSM_FAULTS");
  snprintf(buffer, size, "%s/%s", folder != NULL ? folder : "/nonexistent", name);
  return buffer;
}

static long number_in(const char* name) {
  char path[512], text[32] = "";
  int fd = open(fault_file(name, path, sizeof path), O_RDONLY);
  ssize_t n;
  if (fd < 0) return -1;
  n = read(fd, text, sizeof text - 1);
  close(fd);
  return n > 0 ? strtol(text, NULL, 0) : -1;
}

static CK_RV trouble(void) {
  char path[512];
  long error;
  while (access(fault_file("hold", path, sizeof path), F_OK) == 0) usleep(5000);
  error = number_in("error");
  if (error <= 0 || unlink(fault_file("error", path, sizeof path)) != 0) return CKR_OK;
  return (CK_RV)error;
}

static CK_RV encrypt(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG size, CK_BYTE_PTR out, CK_ULONG_PTR out_size) {
  char path[512];
  int fd = open(fault_file("calls", path, sizeof path), O_WRONLY | O_APPEND | O_CREAT, 0666);
  CK_RV rv;
  long delay = number_in("delay");
  if (delay > 0) usleep((useconds_t)delay);
  if (fd >= 0) {
    if (write(fd, ".", 1) != 1) abort();
    close(fd);
  }
  rv = real.C_Encrypt(session, in, size, out, out_size);
  if (rv == CKR_OK) rv = trouble();
  return rv;
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR wanted, CK_ULONG count,
                      CK_OBJECT_HANDLE_PTR key) {
  CK_RV rv = trouble();
  return rv != CKR_OK ? rv : real.C_GenerateKey(session, mechanism, wanted, count, key);
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void* given, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session) {
  long most = number_in("sessions");
  CK_RV rv;
  if (__atomic_add_fetch(&sessions, 1, __ATOMIC_SEQ_CST) > most && most > 0) {
    __atomic_sub_fetch(&sessions, 1, __ATOMIC_SEQ_CST);
    return CKR_SESSION_COUNT;
  }
  rv = real.C_OpenSession(slot, flags, given, notify, session);
  if (rv != CKR_OK) __atomic_sub_fetch(&sessions, 1, __ATOMIC_SEQ_CST);
  return rv;
}

static CK_RV finalize(void* reserved) {
  __atomic_store_n(&sessions, 0, __ATOMIC_SEQ_CST);
  return real.C_Finalize(reserved);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  const char* path = getenv("KMS_TEST_HSM_LIBRARY");
  void* handle = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  CK_C_GetFunctionList get = handle != NULL ? (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList") : NULL;
  CK_FUNCTION_LIST* found = NULL;
  CK_RV rv;
  if (get == NULL) return CKR_GENERAL_ERROR;
  rv = get(&found);
  if (rv != CKR_OK) return rv;
  real = faulty = *found;
  faulty.C_Encrypt = encrypt;
  faulty.C_GenerateKey = generate;
  faulty.C_OpenSession = open_session;
  faulty.C_Finalize = finalize;
  *list = &faulty;
  return CKR_OK;
}
