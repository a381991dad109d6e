// SPDX-License-Identifier: Apache-2.0
#include "core/lazy_threads.h"

#include <exception>
#include <utility>

#include "core/blocked_signals.h"

namespace kms {

LazyThreads::~LazyThreads() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool LazyThreads::run(std::function<void()> job, bool urgent) {
  const std::lock_guard lock(mutex_);
  const bool more = idle_ <= urgent_.size() + other_.size() && threads_.size() < most_;
  if (more && !start_thread() && threads_.empty()) return false;
  (urgent ? urgent_ : other_).push_back(std::move(job));
  wake_.notify_one();
  return true;
}

bool LazyThreads::start_thread() noexcept {
  const BlockedSignals blocked;
  try {
    threads_.emplace_back([this] { work(); });
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void LazyThreads::work() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return ending_ || !urgent_.empty() || !other_.empty(); });
    --idle_;
    if (ending_) return;
    std::deque<std::function<void()>>& queue = urgent_.empty() ? other_ : urgent_;
    const std::function<void()> job = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace kms
