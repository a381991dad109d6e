// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/bytes.h"

namespace kms {

// Key material, passwords and signer secrets. Lives in OpenSSL's secure heap where a process has
// one (see init_secure_heap), else in ordinary heap; wiped on destruction in both cases. Move-only,
// so that no copy is made by accident; never printed. Equality is constant-time for equal lengths.
class Secret {
 public:
  Secret() noexcept = default;
  explicit Secret(std::size_t size);  // zero-filled
  explicit Secret(ByteView bytes);
  explicit Secret(std::string_view text) : Secret(as_bytes(text)) {}
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  Secret clone() const { return Secret(view()); }
  ByteView view() const noexcept { return {data_, size_}; }
  std::uint8_t* data() noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  bool equals(ByteView other) const noexcept;

 private:
  void release() noexcept;
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// Gives this process a locked heap of bytes (a power of two) for Secrets. Call once for each
// process, after the fork: memory locks are not inherited. Returns false when the pages could not
// be locked; the heap works then too. Once it is full Secrets go to the ordinary heap.
bool init_secure_heap(std::size_t bytes);

// Compares two byte strings in time that depends on their lengths only.
bool equal_constant_time(ByteView a, ByteView b) noexcept;

}  // namespace kms
