// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "output.h"

namespace kmsctl {

// A bar on stderr for work that takes long, shown only on a terminal and not with --quiet. Threads
// may step it together.
class Progress {
 public:
  Progress(const Output& out, std::string what, std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step() { show(++done_); }
  void at(std::size_t done) { show(done_ = done); }

 private:
  void show(std::size_t done);
  void draw(std::size_t done);

  const bool shown_;
  const std::string what_;
  const std::size_t total_;
  std::atomic<std::size_t> done_{0};
  std::mutex mutex_;
  std::int64_t drawn_ms_ = 0;
};

}  // namespace kmsctl
