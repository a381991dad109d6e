// SPDX-License-Identifier: Apache-2.0
#include "keystore/eek_queue.h"

#include <algorithm>
#include <iterator>

#include "core/clock.h"

namespace kms {

EekQueue::EekQueue(EekQueueOptions options, Make make)
    : options_(options),
      make_(std::move(make)),
      threads_(std::make_unique<LazyThreads>(static_cast<std::size_t>(options.fill_threads))) {}

void EekQueue::stop() noexcept {
  // Ended after the lock is given back: its threads take it for the end of their batches.
  std::unique_ptr<LazyThreads> ending;
  const std::lock_guard lock(mutex_);
  ending.swap(threads_);
  queues_.clear();
}

bool EekQueue::wants_filling(const Queue& queue) const {
  return threads_ != nullptr && !queue.filling &&
         static_cast<double>(queue.ready.size()) <
             options_.low_watermark * static_cast<double>(options_.size);
}

// With the mutex. A thread that cannot be had leaves the work to the callers.
void EekQueue::begin_filling(const VersionPtr& kek, Queue& queue) {
  queue.filling =
      threads_->run([this, kek, identity = queue.identity] { fill(kek, identity); }, false);
}

std::vector<Eek> EekQueue::take_ready(const VersionPtr& kek, const std::string& identity,
                                      std::size_t count) {
  const std::lock_guard lock(mutex_);
  Queue& queue = queues_[kek->name];
  if (queue.identity != identity) queue = {identity, {}, 0, false};
  queue.used_ms = steady_ms();
  const auto end =
      queue.ready.begin() + static_cast<std::ptrdiff_t>(std::min(count, queue.ready.size()));
  std::vector<Eek> taken(std::make_move_iterator(queue.ready.begin()),
                         std::make_move_iterator(end));
  queue.ready.erase(queue.ready.begin(), end);
  if (wants_filling(queue)) begin_filling(kek, queue);
  return taken;
}

// They are for somebody who asks for fewer, while no more can be made.
void EekQueue::put_back(const VersionPtr& kek, const std::string& identity, std::vector<Eek> eeks) {
  const std::lock_guard lock(mutex_);
  const auto at = queues_.find(kek->name);
  if (at == queues_.end() || at->second.identity != identity) return;
  at->second.ready.insert(at->second.ready.begin(), std::make_move_iterator(eeks.begin()),
                          std::make_move_iterator(eeks.end()));
}

Result<std::vector<Eek>> EekQueue::take(const VersionPtr& kek, const std::string& identity,
                                        std::size_t count) {
  if (options_.size == 0) return make_(kek, count);
  std::vector<Eek> eeks = take_ready(kek, identity, count);
  for (Eek& eek : eeks) eek.wrapped_by = kek;
  if (eeks.size() == count) return eeks;
  auto more = make_(kek, count - eeks.size());
  if (!more.ok()) {
    put_back(kek, identity, std::move(eeks));
    return std::move(more).error();
  }
  std::move(more->begin(), more->end(), std::back_inserter(eeks));
  return eeks;
}

// An error is not said here: callers meet it when the queue is empty, and ask for the next try.
void EekQueue::fill(const VersionPtr& kek, const std::string& identity) noexcept {
  std::size_t missing = 0;
  const auto mine = [&]() -> Queue* {
    const auto at = queues_.find(kek->name);
    return at != queues_.end() && at->second.identity == identity ? &at->second : nullptr;
  };
  try {
    {
      const std::lock_guard lock(mutex_);
      const Queue* queue = mine();
      if (queue == nullptr) return;
      missing = static_cast<std::size_t>(options_.size) - queue->ready.size();
    }
    auto made = make_(kek, missing);
    const std::lock_guard lock(mutex_);
    Queue* queue = mine();
    if (queue == nullptr) return;  // rolled or dropped meanwhile
    queue->filling = false;
    if (made.ok()) std::move(made->begin(), made->end(), std::back_inserter(queue->ready));
  } catch (const std::exception&) {
    const std::lock_guard lock(mutex_);
    if (Queue* queue = mine()) queue->filling = false;
  }
}

void EekQueue::drop(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto at = queues_.find(std::string(name));
  if (at != queues_.end()) at->second.ready.clear();
}

std::size_t EekQueue::ready(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto at = queues_.find(std::string(name));
  return at == queues_.end() ? 0 : at->second.ready.size();
}

void EekQueue::expire() {
  const std::lock_guard lock(mutex_);
  const std::int64_t oldest = steady_ms() - options_.expiry_ms;
  std::erase_if(queues_, [&](const auto& each) {
    return !each.second.filling && each.second.used_ms < oldest;
  });
}

}  // namespace kms
