// SPDX-License-Identifier: Apache-2.0
// Request bodies: whatever passes the limits is parsed, and what is parsed can be written and
// parsed again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "crypto/base64.h"
#include "hadoop/wire_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kms;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  for (const auto shape : {hadoop::JsonShape::object, hadoop::JsonShape::array}) {
    auto parsed = hadoop::parse_json(body, shape);
    if (!parsed.ok() || *parsed == nullptr) continue;
    const std::string text = hadoop::dump_json(parsed->get());
    auto again = hadoop::parse_json(text, shape);
    if (!again.ok() || json_equal(again->get(), parsed->get()) == 0) std::abort();
    if (shape != hadoop::JsonShape::object) continue;
    auto material = hadoop::string_member(parsed->get(), "material");
    if (!material.ok() || *material == nullptr) continue;
    const Bytes bytes = base64_decode_lenient(hadoop::text_of(*material));
    if (base64_decode_lenient(base64url_encode(bytes)) != bytes) std::abort();
  }
  return 0;
}
