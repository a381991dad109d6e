// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/thread_cached.h"
#include "keystore/keystore.h"
#include "keystore/postgres/drops.h"

namespace kms::postgres {

// A key as it was read from the database, with its versions opened; immutable.
struct CachedKey {
  struct Version {
    std::int32_t number = 0;
    VersionPtr version;           // null:
    std::optional<Error> broken;  // why it cannot be opened
  };
  std::string name;
  std::string incarnation;
  bool deleted = false;           // there is one, hidden; else as if there were none
  MetadataPtr metadata;           // null: there is no such key, or
  std::optional<Error> broken;    // its row cannot be trusted
  std::vector<Version> versions;  // by number

  const Version* find(std::int32_t number) const;
};
using CachedKeyPtr = std::shared_ptr<const CachedKey>;

// The keys that a process has in memory. Readers go by a map of their own thread, which they throw
// away when the epoch moves; only what is not in there takes the mutex. A key with many versions
// that was dropped stays aside, so that it does not have to be opened anew as a whole.
class KeyCache {
 public:
  // No lock. The pointer is good until the thread's next call.
  const CachedKey* find_mine(std::uint64_t hash, std::string_view name) const;
  // From the map of all threads, and into that of this one.
  const CachedKey* find(std::uint64_t hash, std::string_view name);
  // What was known of the key before it was dropped; null: nothing.
  CachedKeyPtr dropped(std::uint64_t hash, std::string_view name);

  std::uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  // Keeps what was read since epoch, unless the key was dropped meanwhile. Either way the pointer
  // is good until the thread's next call.
  const CachedKey* put(std::uint64_t hash, CachedKeyPtr key, std::uint64_t read_at_epoch);

  // The names of all keys, and by which counters of the log of changes; list null: not known. They
  // are those of now while epoch is that of the cache.
  struct Names {
    std::shared_ptr<const std::vector<std::string>> list;
    std::vector<std::int64_t> counters;  // by shard
    std::uint64_t epoch = 0;
    std::uint64_t era = 0;  // counts drop_all(), by which they are forgotten
  };
  Names names();
  void put_names(Names names);  // of the era of an earlier names(), else they are not kept

  void drop(std::uint64_t hash);
  void drop_all();

 private:
  struct Slot {
    CachedKeyPtr key;
    bool dropped = false;
  };
  struct Mine {
    std::unordered_map<std::uint64_t, CachedKeyPtr> keys;
    CachedKeyPtr last;
  };
  Mine& mine() const;

  std::atomic<std::uint64_t> epoch_{1};
  ThreadCached<Mine> cached_;
  std::mutex mutex_;  // guards what follows
  std::unordered_map<std::uint64_t, Slot> keys_;
  Drops drops_;
  std::size_t absent_ = 0;  // of them, names without a key
  Names names_;
};

}  // namespace kms::postgres
