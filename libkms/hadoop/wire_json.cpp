// SPDX-License-Identifier: Apache-2.0
#include "hadoop/wire_json.h"

#include <openssl/crypto.h>
#include <unistr.h>

#include <cstring>

#include "crypto/base64.h"
#include "hadoop/json_scan.h"

namespace kms::hadoop {
namespace {

constexpr std::size_t kDumpFlags = JSON_INDENT(2) | JSON_ENCODE_ANY;

std::string dump(const json_t* json, std::size_t flags) {
  std::string out;
  json_dump_callback(
      json,
      [](const char* buffer, std::size_t size, void* data) {
        static_cast<std::string*>(data)->append(buffer, size);
        return 0;
      },
      &out, flags);
  return out;
}

// What the token operations answer with: one line, without blanks.
std::string compact_line(const json_t* json) {
  return dump(json, JSON_COMPACT) + "\n";
}

// A JSON string of valid UTF-8; bytes that are none become U+FFFD.
json_t* text_json(std::string_view text) {
  if (json_t* s = json_stringn(text.data(), text.size()); s != nullptr) return s;
  std::string mended;
  auto* p = reinterpret_cast<const std::uint8_t*>(text.data());
  std::size_t left = text.size();
  while (left > 0) {
    ucs4_t c;
    const int n = u8_mbtoucr(&c, p, left);
    if (n > 0) {
      mended.append(reinterpret_cast<const char*>(p), static_cast<std::size_t>(n));
    } else {
      mended += "\xEF\xBF\xBD";
    }
    const std::size_t step = n > 0 ? static_cast<std::size_t>(n) : 1;
    p += step;
    left -= step;
  }
  return json_stringn(mended.data(), mended.size());
}

std::string_view java_class_of(const json_t* value) {
  switch (json_typeof(value)) {
    case JSON_STRING:
      return "java.lang.String";
    case JSON_INTEGER:
      return json_integer_value(value) == static_cast<std::int32_t>(json_integer_value(value))
                 ? "java.lang.Integer"
                 : "java.lang.Long";
    case JSON_REAL:
      return "java.lang.Double";
    case JSON_TRUE:
    case JSON_FALSE:
      return "java.lang.Boolean";
    case JSON_ARRAY:
      return "java.util.ArrayList";
    case JSON_OBJECT:
      return "java.util.LinkedHashMap";
    case JSON_NULL:
      break;
  }
  return "null";
}

}  // namespace

Result<JsonPtr> parse_json(std::string_view body, JsonShape shape, const JsonLimits& limits) {
  std::string converted;
  auto text = body_as_utf8(body, converted);
  if (!text.ok()) return std::move(text).error();
  KMS_TRY(scan_json(*text, limits));

  json_error_t problem;
  JsonPtr json(json_loadb(text->data(), text->size(),
                          JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem));
  if (json == nullptr) {
    return Error(ErrorKind::malformed_json, std::string(problem.text) + " (line " +
                                                std::to_string(problem.line) + ", column " +
                                                std::to_string(problem.column) + ")");
  }
  if (json_is_null(json.get())) return JsonPtr();
  const bool fits =
      shape == JsonShape::object ? json_is_object(json.get()) : json_is_array(json.get());
  if (!fits) {
    return Error(ErrorKind::unexpected_json,
                 std::string("Cannot deserialize value of type `") +
                     (shape == JsonShape::object
                          ? "java.util.LinkedHashMap<java.lang.Object,java.lang.Object>"
                          : "java.util.ArrayList<java.lang.Object>") +
                     "` from " + std::string(java_class_of(json.get())) + " value");
  }
  return json;
}

Error cast_error(const json_t* value, std::string_view wanted_class) {
  const std::string have(java_class_of(value)), want(wanted_class);
  return Error(ErrorKind::wrong_type, "class " + have + " cannot be cast to class " + want + " (" +
                                          have + " and " + want +
                                          " are in module java.base of loader 'bootstrap')");
}

Result<const json_t*> string_member(const json_t* object, const char* name) {
  const json_t* value = json_object_get(object, name);
  if (value == nullptr || json_is_null(value)) return static_cast<const json_t*>(nullptr);
  if (!json_is_string(value)) return cast_error(value, "java.lang.String");
  return value;
}

std::string_view text_of(const json_t* string) {
  return {json_string_value(string), json_string_length(string)};
}

void wipe_member(json_t* object, const char* name) {
  json_t* value = json_object_get(object, name);
  if (value == nullptr || !json_is_string(value)) return;
  OPENSSL_cleanse(const_cast<char*>(json_string_value(value)), json_string_length(value));
}

void set_text(json_t* object, const char* name, std::string_view text) {
  json_object_set_new_nocheck(object, name, text_json(text));
}

std::string dump_json(const json_t* json) {
  return dump(json, kDumpFlags);
}

JsonPtr metadata_json(std::string_view name, const KeyMetadata& metadata) {
  JsonPtr json(json_object());
  set_text(json.get(), "name", name);
  if (metadata.cipher.empty()) {
    json_object_set_new(json.get(), "cipher", json_null());
  } else {
    set_text(json.get(), "cipher", metadata.cipher);
  }
  json_object_set_new(json.get(), "length", json_integer(metadata.bit_length));
  if (metadata.description.has_value()) {
    set_text(json.get(), "description", *metadata.description);
  } else {
    json_object_set_new(json.get(), "description", json_null());
  }
  json_t* attributes = json_object();
  for (const auto& [key, value] : metadata.attributes) {
    json_object_set_new_nocheck(attributes, key.c_str(), text_json(value));
  }
  json_object_set_new(json.get(), "attributes", attributes);
  json_object_set_new(json.get(), "created", json_integer(metadata.created_ms));
  json_object_set_new(json.get(), "versions", json_integer(metadata.versions));
  return json;
}

JsonPtr eek_json(std::string_view key_name, bool with_name, std::string_view version_name,
                 ByteView iv, ByteView material) {
  JsonPtr inner(json_object());
  set_text(inner.get(), "material", base64url_encode(material));
  if (with_name) {
    set_text(inner.get(), "name", key_name);
  } else {
    json_object_set_new(inner.get(), "name", json_null());
  }
  set_text(inner.get(), "versionName", "EEK");
  JsonPtr json(json_object());
  json_object_set_new(json.get(), "encryptedKeyVersion", inner.release());
  set_text(json.get(), "versionName", version_name);
  set_text(json.get(), "iv", base64url_encode(iv));
  return json;
}

const EekListWriter::Shape& EekListWriter::shape(bool with_name, std::string_view version_name,
                                                 std::size_t iv_size, std::size_t material_size) {
  if (last_.has_value() && last_->with_name == with_name && last_->version_name == version_name &&
      last_->iv_size == iv_size && last_->material_size == material_size)
    return *last_;
  const Bytes iv(iv_size), material(material_size);
  JsonPtr list(json_array());
  json_array_append_new(list.get(),
                        eek_json(key_name_, with_name, version_name, iv, material).release());
  std::string text = dump_json(list.get());
  text = text.substr(1, text.rfind('}'));  // without the brackets of the array
  // A quote inside a string is escaped, so these can only be members; material is the first of its
  // name and iv the last.
  constexpr std::string_view kMaterial = "\"material\": \"", kIv = "\"iv\": \"";
  Shape made{with_name, std::string(version_name), iv_size, material_size, std::move(text), 0, 0};
  made.material_at = made.text.find(kMaterial) + kMaterial.size();
  made.iv_at = made.text.rfind(kIv) + kIv.size();
  return last_.emplace(std::move(made));
}

void EekListWriter::add(bool with_name, std::string_view version_name, ByteView iv,
                        ByteView material) {
  const Shape& form = shape(with_name, version_name, iv.size(), material.size());
  if (out_.size() > 1) out_ += ',';
  const std::size_t begin = out_.size();
  out_ += form.text;
  base64url_encode_to(material, out_.data() + begin + form.material_at);
  base64url_encode_to(iv, out_.data() + begin + form.iv_at);
}

std::string EekListWriter::finish() && {
  out_ += out_.size() > 1 ? "\n]" : "]";
  return std::move(out_);
}

JsonPtr key_version_json(std::string_view name, std::string_view version_name,
                         const ByteView* material) {
  JsonPtr json(json_object());
  if (material != nullptr) {
    set_text(json.get(), "material", std::string(base64url_length(material->size()), '.'));
  } else {
    json_object_set_new(json.get(), "material", json_null());
  }
  set_text(json.get(), "name", name);
  set_text(json.get(), "versionName", version_name);
  return json;
}

Secret dump_with_materials(const json_t* json, const std::vector<ByteView>& materials) {
  // A quote inside a string is escaped, so this text can only be a member's beginning.
  constexpr std::string_view kMember = "\"material\": \"";
  const std::string text = dump_json(json);
  Secret out{std::string_view(text)};
  std::size_t from = 0;
  for (const ByteView& material : materials) {
    from = text.find(kMember, from);
    if (from == std::string::npos) break;
    from += kMember.size();
    const Secret encoded = base64url_encode_secret(material);
    if (!encoded.empty()) std::memcpy(out.data() + from, encoded.view().data(), encoded.size());
    from += encoded.size();
  }
  return out;
}

Secret delegation_token_json(ByteView url_string) {
  const JsonPtr inner(json_object()), outer(json_object());
  set_text(inner.get(), "urlString", std::string(url_string.size(), '.'));
  json_object_set(outer.get(), "Token", inner.get());
  std::string text = compact_line(outer.get());
  Secret out{std::string_view(text)};
  if (!url_string.empty())
    std::memcpy(out.data() + text.find('.'), url_string.data(), url_string.size());
  return out;
}

std::string renew_date_json(std::int64_t ms) {
  const JsonPtr json(json_object());
  json_object_set_new(json.get(), "long", json_integer(ms));
  return compact_line(json.get());
}

}  // namespace kms::hadoop
