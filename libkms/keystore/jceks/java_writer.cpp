// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/java_writer.h"

#include <algorithm>

#include "keystore/jceks/modified_utf8.h"

namespace kms::jceks {
namespace {
constexpr std::uint32_t kFirstHandle = 0x007E0000;
constexpr std::uint64_t kByteArraySuid = 0xACF317F8060854E0;
constexpr std::size_t kBlockSize = 1024, kShortBlock = 255;
}  // namespace

JavaWriter::JavaWriter() {
  u32(0xACED0005);
}

void JavaWriter::u32(std::uint32_t n) {
  for (int shift = 24; shift >= 0; shift -= 8) u8(static_cast<std::uint8_t>(n >> shift));
}

void JavaWriter::utf(std::string_view text) {
  const std::size_t size = modified_utf8_size(text);
  u8(static_cast<std::uint8_t>(size >> 8));
  u8(static_cast<std::uint8_t>(size));
  append_modified_utf8(out_, text);
}

void JavaWriter::reference(std::uint32_t handle) {
  u8(0x71);
  u32(kFirstHandle + handle);
}

void JavaWriter::begin_class(std::string_view name, std::uint64_t suid, std::uint8_t flags,
                             std::uint16_t fields) {
  u8(0x72);
  utf(name);
  u32(static_cast<std::uint32_t>(suid >> 32));
  u32(static_cast<std::uint32_t>(suid));
  u8(flags);
  u8(static_cast<std::uint8_t>(fields >> 8));
  u8(static_cast<std::uint8_t>(fields));
}

void JavaWriter::field(char type, std::string_view name, std::string_view signature) {
  u8(static_cast<std::uint8_t>(type));
  utf(name);
  string(signature);
}

void JavaWriter::field(char type, std::string_view name, std::uint32_t signature_handle) {
  u8(static_cast<std::uint8_t>(type));
  utf(name);
  reference(signature_handle);
}

void JavaWriter::string(std::string_view text) {
  const std::size_t size = modified_utf8_size(text);
  if (size <= kMaxUtfSize) {
    u8(0x74);
    utf(text);
    return;
  }
  u8(0x7C);
  u32(static_cast<std::uint32_t>(static_cast<std::uint64_t>(size) >> 32));
  u32(static_cast<std::uint32_t>(size));
  append_modified_utf8(out_, text);
}

void JavaWriter::byte_array(std::size_t length) {
  u8(0x75);
  begin_class("[B", kByteArraySuid, 0x02, 0);
  end_mark();
  no_super();
  u32(static_cast<std::uint32_t>(length));
}

void JavaWriter::byte_array(std::size_t length, std::uint32_t class_handle) {
  u8(0x75);
  reference(class_handle);
  u32(static_cast<std::uint32_t>(length));
}

void JavaWriter::blocks(ByteView data) {
  while (!data.empty()) {
    const std::size_t size = std::min(data.size(), kBlockSize);
    if (size <= kShortBlock) {
      u8(0x77);
      u8(static_cast<std::uint8_t>(size));
    } else {
      u8(0x7A);
      u32(static_cast<std::uint32_t>(size));
    }
    bytes(data.first(size));
    data = data.subspan(size);
  }
}

}  // namespace kms::jceks
