// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

namespace kms {

// Signals are for the threads of the host. While this lives they are blocked in the calling thread,
// and so for good in each thread that it starts, which has the mask of its maker.
class BlockedSignals {
 public:
  BlockedSignals() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace kms
