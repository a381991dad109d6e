// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/shared_changes.h"

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <thread>

#include "core/file_io.h"

namespace kms::postgres {

// FNV-1a.
std::uint64_t name_hash(std::string_view name) noexcept {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  return is_record_name(name) ? hash | kRecordBit : hash & ~kRecordBit;
}

Result<std::unique_ptr<SharedChanges>> SharedChanges::map() {
  void* at =
      ::mmap(nullptr, sizeof(Region), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return io_error("map", "memory for changes", errno);
  return std::unique_ptr<SharedChanges>(new SharedChanges(new (at) Region()));
}

SharedChanges::~SharedChanges() {
  ::munmap(region_, sizeof(Region));
}

// Seen by readers once its number is there; until then they wait a little, see change().
void SharedChanges::publish(std::uint64_t hash) noexcept {
  const std::uint64_t number = region_->count.fetch_add(1, std::memory_order_acq_rel) + 1;
  Slot& slot = region_->slots[number % kSlots];
  slot.number.store(0, std::memory_order_release);
  slot.hash.store(hash, std::memory_order_release);
  slot.number.store(number, std::memory_order_release);
}

std::optional<std::uint64_t> SharedChanges::change(std::uint64_t number) const noexcept {
  const Slot& slot = region_->slots[number % kSlots];
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t before = slot.number.load(std::memory_order_acquire);
    if (before > number) return std::nullopt;  // overtaken
    if (before == number) {
      const std::uint64_t hash = slot.hash.load(std::memory_order_acquire);
      if (slot.number.load(std::memory_order_acquire) == number) return hash;
      return std::nullopt;
    }
    std::this_thread::yield();
  }
  return std::nullopt;
}

}  // namespace kms::postgres
