// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "auth/signer.h"

namespace kms {

// The memory that the children share. Processes of one layout only ever meet here.
//
// A roll writes into the slot that nobody reads and then publishes it by one store to generation: a
// process killed anywhere leaves either the old state or the new one, and what it left locked the
// next one opens (robust mutex). Slot generation % 3 is the current secret, the one before it the
// previous one. Slots are read and written with the mutex held; readers take it only when
// generation has moved.
struct SharedSignerRegion {
  static constexpr std::uint64_t kMagic = 0x6b6d732d7369676eu;  // "kms-sign"
  static constexpr std::uint32_t kLayout = 1;
  static constexpr std::size_t kSlots = 3;

  struct Slot {
    std::int64_t born_ms;        // steady_ms, one clock for all processes
    std::uint32_t previous_too;  // whether the secret before this one is still accepted
    std::uint8_t secret[32];
  };

  std::uint64_t magic;  // written last
  std::uint32_t layout;
  std::uint32_t bytes;
  std::atomic<std::uint64_t> generation;
  std::atomic<std::int64_t> period_ms;
  pthread_mutex_t mutex;
  Slot slots[kSlots];
};

static_assert(sizeof(SharedSignerRegion) <= kSharedSignerBytes);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace kms
