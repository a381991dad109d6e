// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/pin_guard.h"

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <new>

#include "core/clock.h"

namespace kms::pkcs11 {

struct PinGuard::Shared {
  pthread_mutex_t mutex;
  std::atomic<std::int64_t> let_in_ms{0};  // steady_ms()
  std::atomic<bool> refused{false};
};

namespace {

// Free again when the process dies that has it.
void make_shared_mutex(pthread_mutex_t& mutex) {
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex, &kind);
  pthread_mutexattr_destroy(&kind);
}

void* map_shared(std::size_t size) {
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  return at;
}

}  // namespace

// Held while the PIN is not known to be good. Whoever waited too long goes on without.
class PinGuard::Turn {
 public:
  Turn(pthread_mutex_t& mutex, std::int64_t wait_ms) : mutex_(mutex) {
    timespec until{};
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1'000'000;
    if (until.tv_nsec >= 1'000'000'000) {
      ++until.tv_sec;
      until.tv_nsec -= 1'000'000'000;
    }
    const int outcome = pthread_mutex_timedlock(&mutex_, &until);
    if (outcome == EOWNERDEAD) pthread_mutex_consistent(&mutex_);
    held_ = outcome == 0 || outcome == EOWNERDEAD;
  }
  ~Turn() { end(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  void end() {
    if (held_) pthread_mutex_unlock(&mutex_);
    held_ = false;
  }

 private:
  pthread_mutex_t& mutex_;
  bool held_ = false;
};

PinGuard::PinGuard() : shared_(new (map_shared(sizeof(Shared))) Shared) {
  make_shared_mutex(shared_->mutex);
}

PinGuard::~PinGuard() {
  ::munmap(shared_, sizeof(Shared));
}

LoginProblem PinGuard::in_turn(std::int64_t since_ms, std::int64_t wait_ms,
                               const std::function<LoginProblem()>& log_in) {
  Turn turn(shared_->mutex, shared_->let_in_ms < since_ms ? wait_ms : 0);
  if (shared_->refused) return {CKR_PIN_INCORRECT, "its PIN was refused before", true};
  if (shared_->let_in_ms >= since_ms) turn.end();
  LoginProblem problem = log_in();
  if (problem.text.empty())
    shared_->let_in_ms = steady_ms();
  else if (problem.rv == CKR_PIN_INCORRECT || problem.rv == CKR_PIN_LOCKED)
    shared_->refused = true;
  return problem;
}

}  // namespace kms::pkcs11
