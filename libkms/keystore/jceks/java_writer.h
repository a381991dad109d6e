// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "core/bytes.h"

namespace kms::jceks {

// Emitter of the Java serialization records that a keystore is made of.
class JavaWriter {
 public:
  JavaWriter();  // begins with the stream header

  void u8(std::uint8_t n) { out_.push_back(n); }
  void u32(std::uint32_t n);
  void bytes(ByteView data) { out_.insert(out_.end(), data.begin(), data.end()); }

  void object() { u8(0x73); }
  // Up to the field list; the fields follow, then end_mark() and the superclass.
  void begin_class(std::string_view name, std::uint64_t suid, std::uint8_t flags,
                   std::uint16_t fields);
  void field(char type, std::string_view name, std::string_view signature);
  void field(char type, std::string_view name, std::uint32_t signature_handle);
  void end_mark() { u8(0x78); }  // of a class description or of custom data
  void no_super() { u8(0x70); }
  void string(std::string_view text);
  // "[B" described anew, or by handle; length bytes of content follow by bytes().
  void byte_array(std::size_t length);
  void byte_array(std::size_t length, std::uint32_t class_handle);
  // Block data as one 1024-byte buffer of ObjectOutputStream cuts it.
  void blocks(ByteView data);

  Bytes take() { return std::move(out_); }

 private:
  void utf(std::string_view text);
  void reference(std::uint32_t handle);
  Bytes out_;
};

}  // namespace kms::jceks
