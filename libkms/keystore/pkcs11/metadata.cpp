// SPDX-License-Identifier: Apache-2.0
// The file of metadata as JSON. What it says is who is who; nothing in it is secret.
#include "keystore/pkcs11/metadata.h"

#include <jansson.h>

#include <algorithm>

#include "core/hex.h"
#include "crypto/random.h"
#include "hadoop/wire_json.h"

namespace kms::pkcs11 {
namespace {

// The second has keys of other keystores. What has none is written as the first, which earlier
// programs read as well.
constexpr json_int_t kFormat = 1, kAdoptedFormat = 2;

using Json = hadoop::JsonPtr;

// Thrown inside of this file only: a member that is not what it has to be.
struct Damaged {
  std::string what;
};

const json_t* member(const json_t* of, const char* name) {
  const json_t* found = json_object_get(of, name);
  if (found == nullptr) throw Damaged{std::string("no '") + name + "'"};
  return found;
}

std::string text_value(const json_t* value, const char* name) {
  if (!json_is_string(value)) throw Damaged{std::string("'") + name + "' is no text"};
  return {json_string_value(value), json_string_length(value)};
}

std::string text_member(const json_t* of, const char* name) {
  return text_value(member(of, name), name);
}

std::int64_t number_member(const json_t* of, const char* name, std::int64_t most = INT64_MAX) {
  const json_t* value = member(of, name);
  if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > most)
    throw Damaged{std::string("'") + name + "' is no number that is possible"};
  return json_integer_value(value);
}

std::string raw_member(const json_t* of, const char* name, std::size_t size) {
  auto raw = unhex(text_member(of, name));
  if (!raw || raw->size() != size)
    throw Damaged{std::string("'") + name + "' has not " + std::to_string(size) + " bytes"};
  return *raw;
}

const json_t* array_member(const json_t* of, const char* name) {
  const json_t* value = member(of, name);
  if (!json_is_array(value)) throw Damaged{std::string("'") + name + "' is no list"};
  return value;
}

TokenVersionPtr parse_version(const json_t* from, const KeyMetadata& key, std::int32_t adopted) {
  auto version = std::make_shared<TokenVersion>();
  version->number = static_cast<std::int32_t>(number_member(from, "number", key.versions - 1));
  version->name = key.name;
  version->version_name = version_name(key.name, version->number);
  auto ref = std::make_shared<KeyRef>();
  if (json_is_true(json_object_get(from, "outside"))) {
    if (version->number >= adopted)
      throw Damaged{version->version_name + " is outside, and was not adopted"};
  } else {
    ref->id = raw_member(from, "id", kKeyIdSize);
    version->created_ms = number_member(from, "created");
  }
  ref->label = version->version_name;
  ref->bits = key.bit_length;
  const std::string check = raw_member(from, "check", kCheckSize);
  ref->check.assign(check.begin(), check.end());
  version->key = std::move(ref);
  return version;
}

KeyRecord parse_key(const json_t* from) {
  auto metadata = std::make_shared<KeyMetadata>();
  metadata->name = text_member(from, "name");
  metadata->cipher = text_member(from, "cipher");
  metadata->bit_length = static_cast<std::int32_t>(number_member(from, "length", 256));
  metadata->created_ms = number_member(from, "created");
  metadata->versions = static_cast<std::int32_t>(number_member(from, "versions", INT32_MAX));
  if (const json_t* text = json_object_get(from, "description"); text != nullptr)
    metadata->description = text_value(text, "description");
  const json_t* attributes = member(from, "attributes");
  for (void* it = json_object_iter(const_cast<json_t*>(attributes)); it != nullptr;
       it = json_object_iter_next(const_cast<json_t*>(attributes), it))
    metadata->attributes[json_object_iter_key(it)] =
        text_value(json_object_iter_value(it), "attributes");
  KeyRecord record;
  if (json_object_get(from, "adopted") != nullptr)
    record.adopted =
        static_cast<std::int32_t>(number_member(from, "adopted", metadata->versions - 1));
  const json_t* objects = array_member(from, "objects");
  for (std::size_t i = 0; i < json_array_size(objects); ++i)
    record.versions.push_back(parse_version(json_array_get(objects, i), *metadata, record.adopted));
  for (std::size_t i = 1; i < record.versions.size(); ++i)
    if (record.versions[i - 1]->number >= record.versions[i]->number)
      throw Damaged{"versions of " + metadata->name + " are not in order"};
  record.metadata = std::move(metadata);
  return record;
}

State parse_checked(const json_t* root) {
  if (!json_is_object(root)) throw Damaged{"no JSON object"};
  if (const auto format = number_member(root, "format");
      format != kFormat && format != kAdoptedFormat)
    throw Damaged{"a format that is not known"};
  State state;
  state.store_id = raw_member(root, "store", kStoreIdSize);
  const json_t* keys = array_member(root, "keys");
  for (std::size_t i = 0; i < json_array_size(keys); ++i) {
    KeyRecord record = parse_key(json_array_get(keys, i));
    const std::string name = record.metadata->name;
    if (!state.keys.emplace(name, std::move(record)).second)
      throw Damaged{name + " is there twice"};
  }
  const json_t* pending = array_member(root, "pending");
  for (std::size_t i = 0; i < json_array_size(pending); ++i) {
    const json_t* from = json_array_get(pending, i);
    state.pending.push_back({raw_member(from, "id", kKeyIdSize), text_member(from, "label"),
                             text_member(from, "what") == "destroy", number_member(from, "since")});
  }
  return state;
}

Json text_json(std::string_view text) {
  Json made(json_stringn(text.data(), text.size()));
  if (made == nullptr) throw Damaged{"text that is not UTF-8"};
  return made;
}

void put(const Json& to, const char* name, std::string_view text) {
  json_object_set_new(to.get(), name, text_json(text).release());
}

void put(const Json& to, const char* name, std::int64_t number) {
  json_object_set_new(to.get(), name, json_integer(number));
}

Json key_json(const KeyRecord& record) {
  const KeyMetadata& metadata = *record.metadata;
  Json key(json_object()), attributes(json_object()), objects(json_array());
  put(key, "name", metadata.name);
  put(key, "cipher", metadata.cipher);
  put(key, "length", metadata.bit_length);
  put(key, "created", metadata.created_ms);
  put(key, "versions", metadata.versions);
  if (metadata.description) put(key, "description", *metadata.description);
  if (record.adopted > 0) put(key, "adopted", record.adopted);
  for (const auto& [name, value] : metadata.attributes) {
    text_json(name);
    if (name.find('\0') != std::string::npos) throw Damaged{"a NUL in the name of an attribute"};
    put(attributes, name.c_str(), value);
  }
  json_object_set_new(key.get(), "attributes", attributes.release());
  for (const TokenVersionPtr& version : record.versions) {
    Json object(json_object());
    put(object, "number", version->number);
    put(object, "check", hex_text(version->key->check));
    if (version->outside()) {
      json_object_set_new(object.get(), "outside", json_true());
    } else {
      put(object, "id", hex_text(version->key->id));
      put(object, "created", version->created_ms);
    }
    json_array_append_new(objects.get(), object.release());
  }
  json_object_set_new(key.get(), "objects", objects.release());
  return key;
}

}  // namespace

std::size_t State::outside() const noexcept {
  std::size_t count = 0;
  for (const auto& [name, record] : keys)
    count += static_cast<std::size_t>(
        std::count_if(record.versions.begin(), record.versions.end(),
                      [](const TokenVersionPtr& each) { return each->outside(); }));
  return count;
}

Result<State> parse_state(ByteView text) {
  json_error_t problem;
  const Json root(json_loadb(reinterpret_cast<const char*>(text.data()), text.size(),
                             JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem));
  if (root == nullptr)
    return Error(ErrorKind::corrupt, "no JSON: " + std::string(problem.text) + " in line " +
                                         std::to_string(problem.line));
  try {
    return parse_checked(root.get());
  } catch (const Damaged& damage) {
    return Error(ErrorKind::corrupt, damage.what);
  }
}

Result<std::string> encode_state(const State& state) {
  try {
    Json root(json_object()), keys(json_array()), pending(json_array());
    const bool adopted = std::any_of(state.keys.begin(), state.keys.end(),
                                     [](const auto& each) { return each.second.adopted > 0; });
    put(root, "format", adopted ? kAdoptedFormat : kFormat);
    put(root, "store", hex_text(state.store_id));
    for (const auto& [name, record] : state.keys)
      json_array_append_new(keys.get(), key_json(record).release());
    for (const Pending& each : state.pending) {
      Json one(json_object());
      put(one, "id", hex_text(each.id));
      put(one, "label", each.label);
      put(one, "what", std::string_view(each.destroy ? "destroy" : "create"));
      put(one, "since", each.since_ms);
      json_array_append_new(pending.get(), one.release());
    }
    json_object_set_new(root.get(), "keys", keys.release());
    json_object_set_new(root.get(), "pending", pending.release());
    std::string out(json_dumpb(root.get(), nullptr, 0, JSON_INDENT(1)), '\0');
    json_dumpb(root.get(), out.data(), out.size(), JSON_INDENT(1));
    return out + "\n";
  } catch (const Damaged& damage) {
    return Error(ErrorKind::invalid_argument, "The key's options have " + damage.what);
  }
}

Result<State> empty_state() {
  State state;
  state.store_id.resize(kStoreIdSize);
  KMS_TRY(fill_public({reinterpret_cast<std::uint8_t*>(state.store_id.data()), kStoreIdSize}));
  return state;
}

Result<std::string> new_key_id(const State& state) {
  std::string id(kKeyIdSize, '\0');
  id.replace(0, kStoreIdSize, state.store_id);
  KMS_TRY(fill_public(
      {reinterpret_cast<std::uint8_t*>(id.data()) + kStoreIdSize, kKeyIdSize - kStoreIdSize}));
  return id;
}

}  // namespace kms::pkcs11
