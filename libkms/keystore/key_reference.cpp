// SPDX-License-Identifier: Apache-2.0
#include "keystore/key_reference.h"

#include <algorithm>
#include <array>

#include "core/hex.h"
#include "hadoop/wire_json.h"

namespace kms {
namespace {

// jansson keeps the order of the members.
constexpr std::string_view kType = "pkcs11-object";
constexpr std::string_view kTag = R"({"type":"pkcs11-object",)";
constexpr std::size_t kNumberBytes = 8;

Error damaged(const char* what) {
  return Error(ErrorKind::corrupt,
               std::string("the reference to an object of the HSM has ") + what);
}

}  // namespace

Secret encode_reference(const KeyReference& reference) {
  const hadoop::JsonPtr object(json_object());
  hadoop::set_text(object.get(), "type", kType);
  hadoop::set_text(object.get(), "id", hex_text(reference.id));
  hadoop::set_text(object.get(), "label", reference.label);
  json_object_set_new(object.get(), "bits", json_integer(reference.bits));
  hadoop::set_text(object.get(), "check", hex_text(reference.check));
  const std::unique_ptr<char, decltype(&std::free)> text(
      json_dumps(object.get(), JSON_COMPACT | JSON_ENSURE_ASCII), &std::free);
  return Secret(std::string_view(text != nullptr ? text.get() : ""));
}

bool has_reference_tag(ByteView content) {
  const ByteView tag = as_bytes(kTag);
  return content.size() > tag.size() && std::equal(tag.begin(), tag.end(), content.begin());
}

bool is_reference(ByteView content, std::int32_t bits) {
  return static_cast<std::int64_t>(content.size()) * 8 != bits && has_reference_tag(content);
}

Result<KeyReference> parse_reference(ByteView content) {
  if (!has_reference_tag(content)) return damaged("no tag");
  const hadoop::JsonPtr object(json_loadb(reinterpret_cast<const char*>(content.data()),
                                          content.size(), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                                          nullptr));
  const auto text = [&](const char* name) {
    const json_t* value = json_object_get(object.get(), name);
    return json_is_string(value) ? std::string(hadoop::text_of(value)) : std::string();
  };
  KeyReference made;
  const auto id = unhex(text("id")), check = unhex(text("check"));
  if (!id || id->size() < kNumberBytes || !check) return damaged("no id or no check");
  made.id = *id;
  made.check.assign(check->begin(), check->end());
  made.label = text("label");
  const json_t* bits = json_object_get(object.get(), "bits");
  const json_int_t length = json_integer_value(bits);
  if (made.label.empty() || length < 8 || length > 4096) return damaged("no label or no length");
  made.bits = static_cast<std::int32_t>(length);
  return made;
}

std::int64_t note_number(const std::string& id) {
  std::uint64_t number = 0;
  for (std::size_t i = id.size() - std::min(id.size(), kNumberBytes); i < id.size(); ++i)
    number = number << 8 | static_cast<std::uint8_t>(id[i]);
  return static_cast<std::int64_t>(number & INT64_MAX);
}

}  // namespace kms
