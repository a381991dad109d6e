// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/pin_guard.h"

#include <sys/mman.h>

#include <atomic>
#include <new>
#include <optional>

#include "core/clock.h"
#include "core/shared_mutex.h"

namespace kms::pkcs11 {

struct PinGuard::Shared {
  SharedMutex turn;                        // to log in while the PIN is not known to be good
  std::atomic<std::int64_t> let_in_ms{0};  // steady_ms()
  std::atomic<bool> refused{false};
};

PinGuard::PinGuard() {
  void* at =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  shared_ = new (at) Shared;
}

// The other processes have their own mapping; nothing in it is theirs to destroy.
PinGuard::~PinGuard() {
  ::munmap(shared_, sizeof(Shared));
}

bool PinGuard::refused() const noexcept {
  return shared_->refused;
}

LoginProblem PinGuard::in_turn(std::int64_t since_ms, std::int64_t wait_ms,
                               const std::function<LoginProblem()>& log_in) {
  std::optional<SharedLock> turn;
  if (shared_->let_in_ms < since_ms) turn.emplace(shared_->turn, wait_ms);
  if (shared_->refused) return {CKR_PIN_INCORRECT, "its PIN was refused before", true};
  if (shared_->let_in_ms >= since_ms) turn.reset();
  LoginProblem problem = log_in();
  if (problem.text.empty())
    shared_->let_in_ms = steady_ms();
  else if (problem.rv == CKR_PIN_INCORRECT || problem.rv == CKR_PIN_LOCKED)
    shared_->refused = true;
  return problem;
}

}  // namespace kms::pkcs11
