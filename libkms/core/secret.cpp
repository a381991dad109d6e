// SPDX-License-Identifier: Apache-2.0
#include "core/secret.h"

#include <openssl/crypto.h>

#include <cstring>
#include <new>
#include <utility>

namespace kms {

Secret::Secret(std::size_t size) : size_(size) {
  if (size == 0) return;
  // The secure heap answers null when it is full; the wipe on release is what must not be lost.
  void* p = OPENSSL_secure_zalloc(size);
  if (p == nullptr) p = OPENSSL_zalloc(size);
  if (p == nullptr) throw std::bad_alloc();
  data_ = static_cast<std::uint8_t*>(p);
}

Secret::Secret(ByteView bytes) : Secret(bytes.size()) {
  if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
}

Secret::Secret(Secret&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    release();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Secret::~Secret() {
  release();
}

void Secret::release() noexcept {
  // Frees from either heap: OpenSSL knows which one the block came from.
  if (data_ != nullptr) OPENSSL_secure_clear_free(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

bool Secret::equals(ByteView other) const noexcept {
  return equal_constant_time(view(), other);
}

bool init_secure_heap(std::size_t bytes) {
  if (CRYPTO_secure_malloc_initialized()) return true;
  // 2 says that the heap is there but could not be locked (RLIMIT_MEMLOCK).
  return CRYPTO_secure_malloc_init(bytes, 32) == 1;
}

bool equal_constant_time(ByteView a, ByteView b) noexcept {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace kms
