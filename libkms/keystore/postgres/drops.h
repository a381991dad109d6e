// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace kms::postgres {

// When entries of a cache were dropped last, by its epochs: whether what was read before may still
// be kept. Entries that share a place are taken for dropped together, which costs a read. For use
// under the lock of the cache.
class Drops {
 public:
  void one(std::uint64_t hash, std::uint64_t epoch) { last_[hash % kPlaces] = epoch; }
  void all(std::uint64_t epoch) { all_ = epoch; }
  bool since(std::uint64_t hash, std::uint64_t epoch) const {
    return all_ > epoch || last_[hash % kPlaces] > epoch;
  }

 private:
  static constexpr std::size_t kPlaces = 4096;
  std::array<std::uint64_t, kPlaces> last_{};
  std::uint64_t all_ = 0;
};

}  // namespace kms::postgres
