// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <cstdint>

namespace kms {

// A lock between processes, in memory that they share. When its holder dies the next one gets it
// and is told. There is no condition variable beside it on purpose: glibc's may hang for ever once
// a waiter was killed.
class SharedMutex {
 public:
  SharedMutex();
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

 private:
  friend class SharedLock;
  pthread_mutex_t mutex_;
};

class SharedLock {
 public:
  explicit SharedLock(SharedMutex& mutex) noexcept;
  // Waits at most this long; held() tells.
  SharedLock(SharedMutex& mutex, std::int64_t wait_ms) noexcept;
  ~SharedLock();
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;
  bool held() const noexcept { return held_; }
  bool owner_died() const noexcept { return owner_died_; }

 private:
  void take(int outcome) noexcept;
  SharedMutex& mutex_;
  bool held_ = false, owner_died_ = false;
};

}  // namespace kms
