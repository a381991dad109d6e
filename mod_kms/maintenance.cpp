// SPDX-License-Identifier: Apache-2.0
#include "maintenance.h"

#include <malloc.h>

#include <atomic>
#include <chrono>

#include "core/blocked_signals.h"

namespace kms {
namespace {

std::atomic<bool> big_body_seen{false};

}  // namespace

void note_big_body() noexcept {
  big_body_seen.store(true, std::memory_order_relaxed);
}

Maintenance::Maintenance(std::vector<Instance*> instances) : instances_(std::move(instances)) {
  const BlockedSignals blocked;
  thread_ = std::thread([this] { run(); });
}

Maintenance::~Maintenance() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  for (Instance* instance : instances_) instance->finish();
}

void Maintenance::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; })) {
    lock.unlock();
    for (Instance* instance : instances_) instance->poll();
    if (big_body_seen.exchange(false, std::memory_order_relaxed)) malloc_trim(0);
    lock.lock();
  }
}

}  // namespace kms
