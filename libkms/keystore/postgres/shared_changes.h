// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "core/result.h"

namespace kms::postgres {

// What is not a key but a record (records.h) has a name that begins with a capital letter, which no
// key's name does, and a hash with this bit.
inline constexpr std::uint64_t kRecordBit = std::uint64_t{1} << 63;
constexpr bool is_record_name(std::string_view name) noexcept {
  return !name.empty() && name.front() >= 'A' && name.front() <= 'Z';
}

// The same number for the same name in all processes of a server.
std::uint64_t name_hash(std::string_view name) noexcept;

// How the children of one httpd tell each other what they changed: memory that the parent maps
// before the fork, with a count of all changes and a ring of the last ones. A writer publishes
// after its commit and before its answer; a reader compares one number. Lock-free; a writer that
// dies in between leaves a slot that its readers count as "anything may have changed".
class SharedChanges {
 public:
  static constexpr std::uint64_t kSlots = 1024;

  static Result<std::unique_ptr<SharedChanges>> map();
  ~SharedChanges();
  SharedChanges(const SharedChanges&) = delete;
  SharedChanges& operator=(const SharedChanges&) = delete;

  std::uint64_t count() const noexcept { return region_->count.load(std::memory_order_acquire); }
  void publish(std::uint64_t hash) noexcept;
  // The change with this number, counted from 1; nullopt when it is not to be had any more.
  std::optional<std::uint64_t> change(std::uint64_t number) const noexcept;

 private:
  struct Slot {
    std::atomic<std::uint64_t> number, hash;
  };
  struct Region {
    std::atomic<std::uint64_t> count;
    Slot slots[kSlots];
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");
  explicit SharedChanges(Region* region) : region_(region) {}
  Region* const region_;
};

}  // namespace kms::postgres
