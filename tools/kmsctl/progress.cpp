// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/clock.h"

namespace kmsctl {
namespace {

constexpr std::size_t kWidth = 40;
constexpr std::int64_t kEveryMs = 100;

}  // namespace

Progress::Progress(const Output& out, std::string what, std::size_t total)
    : shown_(isatty(STDERR_FILENO) != 0 && !out.quiet() && total > 0),
      what_(std::move(what)),
      total_(total) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::show(std::size_t done) {
  if (!shown_) return;
  const std::lock_guard hold(mutex_);
  const std::int64_t now = kms::steady_ms();
  if (now - drawn_ms_ < kEveryMs && done < total_) return;
  drawn_ms_ = now;
  draw(done);
}

void Progress::draw(std::size_t done) {
  const std::size_t filled = std::min(kWidth, kWidth * done / total_);
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  std::fprintf(stderr, "\r%s [%s] %zu/%zu", what_.c_str(), bar.c_str(), done, total_);
  std::fflush(stderr);
}

}  // namespace kmsctl
