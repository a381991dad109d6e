// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kms {

// Threads for what may block, so that workers do not. Each is started when there is a job and none
// is idle, hence after the fork where the first job is; they take no signals. Thread-safe.
class LazyThreads {
 public:
  explicit LazyThreads(std::size_t most) : most_(most) {}
  // Waits for the jobs that run; those that wait are dropped.
  ~LazyThreads();
  LazyThreads(const LazyThreads&) = delete;
  LazyThreads& operator=(const LazyThreads&) = delete;

  // Runs job, which must not throw, on one of the threads; an urgent one before those that are not.
  // False when there is no thread and the system gives none.
  bool run(std::function<void()> job, bool urgent);

 private:
  void work() noexcept;
  bool start_thread() noexcept;

  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> urgent_, other_;
  std::size_t idle_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace kms
