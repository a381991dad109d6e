// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

namespace kms {

// Hadoop's Writable encodings, as far as delegation tokens use them (kms-auth.md 4.1). VInt and
// VLong are one code: a value of -112 to 127 is its own byte; else a byte that says sign and
// length, and the value (for a negative one its complement), big-endian, in as few bytes as it
// needs.

inline constexpr std::size_t kMaxText = 1024 * 1024;  // a Text of an identifier is shorter

// Takes one value after another off the front of bytes, which must outlive it. Errors
// (authentication) read as Java's exceptions do: "java.io.EOFException" at an early end. After an
// error nothing more is to be read. Encodings longer than need be are taken, as in Java.
class WritableReader {
 public:
  explicit WritableReader(ByteView bytes) : rest_(bytes) {}

  Result<std::uint8_t> byte();
  Result<std::int64_t> vlong();
  Result<std::int32_t> vint();
  Result<ByteView> raw(std::size_t size);
  Result<ByteView> byte_array();                   // VInt length, bytes
  Result<std::string> text();                      // the same, of any length, as text
  Result<std::string> text(std::size_t max_size);  // shorter than max_size
  ByteView rest() const noexcept { return rest_; }

 private:
  ByteView rest_;
};

// Writes into room that the caller has measured with the functions below, so that secrets need no
// buffer that grows.
class WritableWriter {
 public:
  explicit WritableWriter(std::uint8_t* to) : to_(to) {}

  void byte(std::uint8_t value) { *to_++ = value; }
  void vlong(std::int64_t value);
  void raw(ByteView bytes);
  void byte_array(ByteView bytes);
  void text(std::string_view text) { byte_array(as_bytes(text)); }
  std::uint8_t* end() const noexcept { return to_; }

 private:
  std::uint8_t* to_;
};

// A Text as Java's toString() gives it: what is no UTF-8 becomes U+FFFD.
std::string printed(std::string_view text);

std::size_t vlong_size(std::int64_t value) noexcept;
inline std::size_t byte_array_size(std::size_t size) noexcept {
  return vlong_size(static_cast<std::int64_t>(size)) + size;
}

}  // namespace kms
