// SPDX-License-Identifier: Apache-2.0
#include "audit/state.h"

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace kms {

SharedMutex::SharedMutex() {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex_, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

SharedLock::SharedLock(SharedMutex& mutex) noexcept : mutex_(mutex) {
  if (pthread_mutex_lock(&mutex_.mutex_) == EOWNERDEAD) {
    pthread_mutex_consistent(&mutex_.mutex_);
    owner_died_ = true;
  }
}

SharedLock::~SharedLock() {
  pthread_mutex_unlock(&mutex_.mutex_);
}

Result<std::shared_ptr<SharedAuditState>> SharedAuditState::create() {
  void* memory =
      mmap(nullptr, sizeof(AuditState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Error(ErrorKind::unavailable,
                 "No shared memory for the audit log: " + std::generic_category().message(errno));
  }
  return std::make_shared<SharedAuditState>(new (memory) AuditState);
}

// The other processes have their own mapping; nothing in it is theirs to destroy.
SharedAuditState::~SharedAuditState() {
  munmap(state_, sizeof(AuditState));
}

}  // namespace kms
