// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace kms {

// Each thread's own reference to the newest version of an immutable object, so that readers touch
// one atomic version number and neither a lock nor a shared reference count:
//
//   const T* seen = cached.get(version.load(std::memory_order_acquire));
//   if (seen == nullptr) seen = cached.put(v, /* under the owner's mutex */ latest);
//
// A thread keeps an old version alive until its next get with a newer number; that is the price.
// Ids are never used twice in a process, so a leftover of a destroyed owner can not be mistaken.
template <class T>
class ThreadCached {
 public:
  const T* get(std::uint64_t version) const noexcept {
    for (const Slot& slot : slots())
      if (slot.id == id_) return slot.version == version ? slot.object.get() : nullptr;
    return nullptr;
  }

  const T* put(std::uint64_t version, std::shared_ptr<const T> object) const {
    for (Slot& slot : slots()) {
      if (slot.id != id_) continue;
      slot.version = version;
      slot.object = std::move(object);
      return slot.object.get();
    }
    slots().push_back({id_, version, std::move(object)});
    return slots().back().object.get();
  }

 private:
  struct Slot {
    std::uint64_t id;
    std::uint64_t version;
    std::shared_ptr<const T> object;
  };
  static std::vector<Slot>& slots() {
    thread_local std::vector<Slot> mine;
    return mine;
  }
  static std::uint64_t next_id() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }
  std::uint64_t id_ = next_id();
};

}  // namespace kms
