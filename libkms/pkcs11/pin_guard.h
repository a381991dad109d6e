// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include "pkcs11/library.h"

namespace kms::pkcs11 {

// What the processes that are forked from the one that made it know of a PIN together. A token
// locks after a few wrong PINs, and all processes lose it, and come back, in the same moment.
// Thread-safe.
class PinGuard {
 public:
  // Throws std::bad_alloc where there is no memory to share.
  PinGuard();
  ~PinGuard();
  PinGuard(const PinGuard&) = delete;
  PinGuard& operator=(const PinGuard&) = delete;

  // Logs in, unless a process was refused. As long as none of them was let in after since_ms
  // (steady_ms()) one goes first and the others wait for what it is told, at most wait_ms.
  LoginProblem in_turn(std::int64_t since_ms, std::int64_t wait_ms,
                       const std::function<LoginProblem()>& log_in);
  // A process was refused: whoever is logged in had better stay so.
  bool refused() const noexcept;

 private:
  struct Shared;
  Shared* shared_;
};

}  // namespace kms::pkcs11
