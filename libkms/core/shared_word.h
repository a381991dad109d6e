// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/result.h"

namespace kms {

// A word that the process shares with all that it forks later; zero at first. Thread-safe.
class SharedWord {
 public:
  static Result<std::shared_ptr<SharedWord>> map();  // Errors: io
  ~SharedWord();
  SharedWord(const SharedWord&) = delete;
  SharedWord& operator=(const SharedWord&) = delete;

  std::atomic<std::uint64_t>& operator*() const noexcept { return *word_; }

 private:
  using Word = std::atomic<std::uint64_t>;
  static_assert(Word::is_always_lock_free, "shared between processes");
  explicit SharedWord(Word* word) : word_(word) {}
  Word* const word_;
};

}  // namespace kms
