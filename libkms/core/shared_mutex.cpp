// SPDX-License-Identifier: Apache-2.0
#include "core/shared_mutex.h"

#include <time.h>

#include <cerrno>

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
  take(pthread_mutex_lock(&mutex_.mutex_));
}

SharedLock::SharedLock(SharedMutex& mutex, std::int64_t wait_ms) noexcept : mutex_(mutex) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  timespec until{};
  clock_gettime(CLOCK_REALTIME, &until);
  const std::int64_t nanoseconds = until.tv_nsec + wait_ms * 1'000'000;
  until.tv_sec += nanoseconds / kSecond;
  until.tv_nsec = nanoseconds % kSecond;
  take(pthread_mutex_timedlock(&mutex_.mutex_, &until));
}

void SharedLock::take(int outcome) noexcept {
  owner_died_ = outcome == EOWNERDEAD;
  if (owner_died_) pthread_mutex_consistent(&mutex_.mutex_);
  held_ = outcome == 0 || owner_died_;
}

SharedLock::~SharedLock() {
  if (held_) pthread_mutex_unlock(&mutex_.mutex_);
}

}  // namespace kms
