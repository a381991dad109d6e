// SPDX-License-Identifier: Apache-2.0
#include "auth/tokens/writable.h"

#include <algorithm>
#include <limits>

#include "core/utf8.h"

namespace kms {
namespace {

constexpr int kSmallest = -112;  // that is its own encoding
constexpr int kNegative = -120;  // prefixes below it are of negative values
constexpr int kMaxPayload = 8;

Error java(std::string text) {
  return Error(ErrorKind::authentication, std::move(text));
}

Error end_of_bytes() {
  return java("java.io.EOFException");
}

// The bits that are written after the prefix.
std::uint64_t payload_of(std::int64_t value) noexcept {
  return static_cast<std::uint64_t>(value < 0 ? ~value : value);
}

int payload_size(std::uint64_t payload) noexcept {
  int size = 1;
  while (size < kMaxPayload && payload >> (8 * size) != 0) ++size;
  return size;
}

bool is_one_byte(std::int64_t value) noexcept {
  return value >= kSmallest && value <= 127;
}

}  // namespace

Result<std::uint8_t> WritableReader::byte() {
  if (rest_.empty()) return end_of_bytes();
  const std::uint8_t value = rest_.front();
  rest_ = rest_.subspan(1);
  return value;
}

Result<std::int64_t> WritableReader::vlong() {
  const auto first = byte();
  if (!first.ok()) return first.error();
  const int prefix = static_cast<std::int8_t>(*first);
  if (prefix >= kSmallest) return std::int64_t{prefix};
  const bool negative = prefix < kNegative;
  const auto payload = raw(static_cast<std::size_t>((negative ? kNegative : kSmallest) - prefix));
  if (!payload.ok()) return payload.error();
  std::uint64_t value = 0;
  for (const std::uint8_t b : *payload) value = value << 8 | b;
  return static_cast<std::int64_t>(negative ? ~value : value);
}

Result<std::int32_t> WritableReader::vint() {
  const auto value = vlong();
  if (!value.ok()) return value.error();
  if (*value < std::numeric_limits<std::int32_t>::min() ||
      *value > std::numeric_limits<std::int32_t>::max())
    return java("java.io.IOException: value too long to fit in integer");
  return static_cast<std::int32_t>(*value);
}

Result<ByteView> WritableReader::raw(std::size_t size) {
  if (size > rest_.size()) return end_of_bytes();
  const ByteView out = rest_.first(size);
  rest_ = rest_.subspan(size);
  return out;
}

Result<ByteView> WritableReader::byte_array() {
  const auto size = vint();
  if (!size.ok()) return size.error();
  if (*size < 0) return java("java.lang.NegativeArraySizeException: " + std::to_string(*size));
  return raw(static_cast<std::size_t>(*size));
}

Result<std::string> WritableReader::text() {
  const auto size = vint();
  if (!size.ok()) return size.error();
  if (*size < 0)
    return java("java.lang.IndexOutOfBoundsException: Range [0, 0 + " + std::to_string(*size) +
                ") out of bounds for length 0");
  const auto bytes = raw(static_cast<std::size_t>(*size));
  if (!bytes.ok()) return bytes.error();
  return std::string(as_text(*bytes));
}

Result<std::string> WritableReader::text(std::size_t max_size) {
  const auto size = vint();
  if (!size.ok()) return size.error();
  const std::string tried =
      "java.io.IOException: tried to deserialize " + std::to_string(*size) + " bytes of data";
  if (*size < 0) return java(tried + "!  newLength must be non-negative.");
  if (static_cast<std::size_t>(*size) >= max_size)
    return java(tried + ", but maxLength = " + std::to_string(max_size));
  const auto bytes = raw(static_cast<std::size_t>(*size));
  if (!bytes.ok()) return bytes.error();
  return std::string(as_text(*bytes));
}

void WritableWriter::vlong(std::int64_t value) {
  if (is_one_byte(value)) return byte(static_cast<std::uint8_t>(value));
  const std::uint64_t payload = payload_of(value);
  const int size = payload_size(payload);
  byte(static_cast<std::uint8_t>((value < 0 ? kNegative : kSmallest) - size));
  for (int i = size - 1; i >= 0; --i) byte(static_cast<std::uint8_t>(payload >> (8 * i)));
}

void WritableWriter::raw(ByteView bytes) {
  to_ = std::copy(bytes.begin(), bytes.end(), to_);
}

void WritableWriter::byte_array(ByteView bytes) {
  vlong(static_cast<std::int64_t>(bytes.size()));
  raw(bytes);
}

std::string printed(std::string_view text) {
  std::string out;
  for (ByteView rest = as_bytes(text); !rest.empty();) {
    const Utf8Step step = utf8_step(rest);
    out += step.well_formed ? as_text(rest.first(step.length)) : "\xef\xbf\xbd";
    rest = rest.subspan(step.length);
  }
  return out;
}

std::size_t vlong_size(std::int64_t value) noexcept {
  if (is_one_byte(value)) return 1;
  return 1 + static_cast<std::size_t>(payload_size(payload_of(value)));
}

}  // namespace kms
