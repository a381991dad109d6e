// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/lazy_threads.h"
#include "core/result.h"
#include "keystore/eek_queue_options.h"
#include "keystore/keystore.h"

namespace kms {

// EEKs made in advance, for a store that is slow to make them: what the Java KMS keeps in its
// EagerKeyGeneratorKeyProviderCryptoExtension. One queue for each key, filled in the background by
// one batch at a time. No EEK is given out twice, and none of another version than the one that is
// asked for, so a roll or a deletion needs no message to other processes. Thread-safe.
class EekQueue {
 public:
  // Makes count EEKs under kek. Called by the callers' threads and by those of the queue.
  using Make = std::function<Result<std::vector<Eek>>(const VersionPtr& kek, std::size_t count)>;

  EekQueue(EekQueueOptions options, Make make);
  ~EekQueue() { stop(); }
  EekQueue(const EekQueue&) = delete;
  EekQueue& operator=(const EekQueue&) = delete;

  // count EEKs under kek, the current version of its key: those that are ready first, the rest made
  // now. identity is unlike that of any other version, also of an earlier key of the same name.
  // Errors: of make.
  Result<std::vector<Eek>> take(const VersionPtr& kek, const std::string& identity,
                                std::size_t count);
  void drop(std::string_view name);
  std::size_t ready(std::string_view name);  // EEKs that are kept for this key
  // Drops what nobody has asked for within the expiry. Called from time to time.
  void expire();
  // Waits for batches that are being made; then nothing is made in advance any more.
  void stop() noexcept;

 private:
  struct Queue {
    std::string identity;
    std::deque<Eek> ready;
    std::int64_t used_ms = 0;  // steady_ms()
    bool filling = false;
  };
  std::vector<Eek> take_ready(const VersionPtr& kek, const std::string& identity,
                              std::size_t count);
  void put_back(const VersionPtr& kek, const std::string& identity, std::vector<Eek> eeks);
  bool wants_filling(const Queue& queue) const;
  void begin_filling(const VersionPtr& kek, Queue& queue);
  void fill(const VersionPtr& kek, const std::string& identity) noexcept;

  const EekQueueOptions options_;
  const Make make_;
  std::mutex mutex_;                               // guards what follows
  std::unordered_map<std::string, Queue> queues_;  // by name of the key
  std::unique_ptr<LazyThreads> threads_;           // null once stopped
};

}  // namespace kms
