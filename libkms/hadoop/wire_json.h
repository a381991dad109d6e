// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <jansson.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/keystore.h"

namespace kms::hadoop {

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using JsonPtr = std::unique_ptr<json_t, JsonFree>;

// What a request body may cost before it is parsed (CVE-2025-6203 of a comparable server).
struct JsonLimits {
  int depth = 32;
  std::size_t values = 2'000'000;  // members and elements
};

enum class JsonShape { object, array };

// Parses a request body as Jackson does (kms-rest.md 1.2): UTF-8 or UTF-16 by detection, a BOM is
// fine, what follows the first value is ignored, a repeated member: last wins. JSON null gives a
// null pointer. Errors: malformed_json, unexpected_json (no content, or another shape), too_large
// past the limits.
Result<JsonPtr> parse_json(std::string_view body, JsonShape shape, const JsonLimits& limits = {});

// Typed members with Java's cast rules: absent and null give null / false; another type is
// wrong_type with Java's ClassCastException text.
Result<const json_t*> string_member(const json_t* object, const char* name);
std::string_view text_of(const json_t* string);  // value of a JSON string
// Wipes the text of a string member that carried key material.
void wipe_member(json_t* object, const char* name);
// "class X cannot be cast to class Y …" for a value that is no Y.
Error cast_error(const json_t* value, std::string_view wanted_class);

// Writing. Text that is not UTF-8 is shown with U+FFFD rather than lost.
void set_text(json_t* object, const char* name, std::string_view text);
std::string dump_json(const json_t* json);

JsonPtr metadata_json(std::string_view name, const KeyMetadata& metadata);
JsonPtr eek_json(std::string_view key_name, bool with_name, std::string_view version_name,
                 ByteView iv, ByteView material);

// A JSON array of EEKs of one key, as text. jansson writes each shape once (name or null, version,
// lengths); what differs from one EEK to the next is base64 only, which is put in its place. A
// batch of 10,000 would else cost a hundred thousand small objects.
class EekListWriter {
 public:
  explicit EekListWriter(std::string_view key_name) : key_name_(key_name) {}
  void add(bool with_name, std::string_view version_name, ByteView iv, ByteView material);
  std::string finish() &&;

 private:
  struct Shape {
    bool with_name;
    std::string version_name;
    std::size_t iv_size, material_size;
    std::string text;
    std::size_t iv_at, material_at;
  };
  const Shape& shape(bool with_name, std::string_view version_name, std::size_t iv_size,
                     std::size_t material_size);
  std::string key_name_;
  std::optional<Shape> last_;
  std::string out_ = "[";
};

// A key version whose material must not pass through buffers that nobody wipes: the JSON holds a
// filler of the right length and dump_with_materials puts the base64 in its place, in order.
JsonPtr key_version_json(std::string_view name, std::string_view version_name,
                         const ByteView* material);
Secret dump_with_materials(const json_t* json, const std::vector<ByteView>& materials);

// Answers of the token operations: {"Token":{"urlString":"..."}}, a secret as well, and {"long":N}.
Secret delegation_token_json(ByteView url_string);
std::string renew_date_json(std::int64_t ms);

}  // namespace kms::hadoop
