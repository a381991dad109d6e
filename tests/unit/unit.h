// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "core/bytes.h"

// cmocka wants these first, and C linkage. Its macro fail() would break the C++ headers, so they
// come before it and the macro goes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#undef fail

namespace unit {

// Folder of the copied test data; make check sets it.
inline std::string data_path(const std::string& name) {
  const char* dir = std::getenv("KMS_TEST_DATA");
  return std::string(dir != nullptr ? dir : "tests/data") + "/" + name;
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) _fail(path.c_str(), 0);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline kms::Bytes from_hex(std::string_view hex) {
  auto digit = [](char c) -> int { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  kms::Bytes out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  return out;
}

inline std::string to_hex(kms::ByteView bytes) {
  static const char* digits = "0123456789abcdef";
  std::string out;
  for (auto b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

inline void assert_text(std::string_view got, std::string_view want) {
  assert_string_equal(std::string(got).c_str(), std::string(want).c_str());
}

}  // namespace unit
