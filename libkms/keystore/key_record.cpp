// SPDX-License-Identifier: Apache-2.0
#include "keystore/key_record.h"

#include <limits>

#include "core/hex.h"
#include "crypto/base64.h"

namespace kms {
namespace {

using hadoop::JsonPtr;

// Attributes are a list of pairs: an object of them could have a member of any name.
JsonPtr metadata_of(const KeyRecord& key) {
  const KeyMetadata& metadata = key.metadata;
  JsonPtr json(json_object());
  hadoop::set_text(json.get(), "name", metadata.name);
  hadoop::set_text(json.get(), "cipher", metadata.cipher);
  json_object_set_new(json.get(), "length", json_integer(metadata.bit_length));
  if (metadata.description.has_value())
    hadoop::set_text(json.get(), "description", *metadata.description);
  json_t* attributes = json_array();
  for (const auto& [name, value] : metadata.attributes) {
    json_t* pair = json_array();
    json_array_append_new(pair, json_stringn(name.data(), name.size()));
    json_array_append_new(pair, json_stringn(value.data(), value.size()));
    json_array_append_new(attributes, pair);
  }
  json_object_set_new(json.get(), "attributes", attributes);
  json_object_set_new(json.get(), "created", json_integer(metadata.created_ms));
  json_object_set_new(json.get(), "versions", json_integer(metadata.versions));
  hadoop::set_text(json.get(), "state", key.state);
  if (key.deleted_ms.has_value())
    json_object_set_new(json.get(), "deleted", json_integer(*key.deleted_ms));
  return json;
}

json_t* version_json(const KeyRecord::Version& version) {
  json_t* json = json_object();
  json_object_set_new(json, "version", json_integer(version.number));
  json_object_set_new(json, "created", json_integer(version.created_ms));
  return json;
}

Result<std::string> material_digest(const std::string& name, const KeyRecord::Version& version) {
  const std::string head = "material of " + version_name(name, version.number) + '\n';
  Secret text(head.size() + version.material.size());
  std::copy(head.begin(), head.end(), text.data());
  const ByteView material = version.material.view();
  std::copy(material.begin(), material.end(), text.data() + head.size());
  auto digest = sha256(text.view());
  if (!digest.ok()) return std::move(digest).error();
  return hex_text(*digest);
}

Error bad_record(const std::string& name, const std::string& why) {
  return Error(ErrorKind::corrupt, "the record of key " + name + ": " + why);
}

// A whole number in [min, max].
template <class T>
bool take(const json_t* object, const char* name, T min, T& out) {
  const json_t* value = json_object_get(object, name);
  if (!json_is_integer(value)) return false;
  const json_int_t n = json_integer_value(value);
  if (n < min || n > std::numeric_limits<T>::max()) return false;
  out = static_cast<T>(n);
  return true;
}

bool take(const json_t* object, const char* name, std::string& out) {
  const json_t* value = json_object_get(object, name);
  if (!json_is_string(value)) return false;
  out = hadoop::text_of(value);
  return true;
}

bool take_attributes(const json_t* list, std::map<std::string, std::string>& out) {
  if (!json_is_array(list)) return false;
  for (std::size_t i = 0; i < json_array_size(list); ++i) {
    const json_t* pair = json_array_get(list, i);
    const json_t *name = json_array_get(pair, 0), *value = json_array_get(pair, 1);
    if (!json_is_string(name) || !json_is_string(value)) return false;
    out[std::string(hadoop::text_of(name))] = hadoop::text_of(value);
  }
  return true;
}

Result<void> take_versions(json_t* list, KeyRecord& key) {
  const std::string& name = key.metadata.name;
  if (!json_is_array(list)) return bad_record(name, "it has no list of versions");
  for (std::size_t i = 0; i < json_array_size(list); ++i) {
    json_t* one = json_array_get(list, i);
    KeyRecord::Version version;
    const json_t* material = json_object_get(one, "material");
    if (!take<std::int32_t>(one, "version", 0, version.number) ||
        !take(one, "created", std::numeric_limits<std::int64_t>::min(), version.created_ms) ||
        !json_is_string(material))
      return bad_record(name, "a version is incomplete");
    version.material = base64_decode_secret(hadoop::text_of(material));
    hadoop::wipe_member(one, "material");
    if (version.number >= key.metadata.versions ||
        (!key.versions.empty() && version.number <= key.versions.back().number))
      return bad_record(name, "its versions are out of order");
    key.versions.push_back(std::move(version));
  }
  return {};
}

Result<KeyRecord> parse_record(const json_t* json) {
  KeyRecord key;
  KeyMetadata& metadata = key.metadata;
  if (!take(json, "name", metadata.name)) return bad_record("?", "it has no name");
  constexpr auto kAnyTime = std::numeric_limits<std::int64_t>::min();
  if (!take(json, "cipher", metadata.cipher) || !take(json, "state", key.state) ||
      !take(json, "length", std::numeric_limits<std::int32_t>::min(), metadata.bit_length) ||
      !take(json, "created", kAnyTime, metadata.created_ms) ||
      !take(json, "versions", std::numeric_limits<std::int32_t>::min(), metadata.versions) ||
      !take_attributes(json_object_get(json, "attributes"), metadata.attributes))
    return bad_record(metadata.name, "it is incomplete");
  std::string description;
  if (take(json, "description", description)) metadata.description = std::move(description);
  std::int64_t deleted = 0;
  if (take(json, "deleted", kAnyTime, deleted)) key.deleted_ms = deleted;
  KMS_TRY(take_versions(json_object_get(json, "material"), key));
  return key;
}

class Differences {
 public:
  void unless(bool same, const std::string& what) {
    if (!same) text_ += (text_.empty() ? "" : ", ") + what;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

Result<JsonPtr> described(const KeyRecord& key) {
  JsonPtr json = metadata_of(key);
  json_t* list = json_array();
  json_object_set_new(json.get(), "material", list);
  for (const KeyRecord::Version& version : key.versions) {
    json_t* one = version_json(version);
    json_array_append_new(list, one);
    auto digest = material_digest(key.metadata.name, version);
    if (!digest.ok()) return std::move(digest).error();
    hadoop::set_text(one, "sha256", *digest);
  }
  return json;
}

Result<Sha256Digest> digest_of(const KeyRecord& key) {
  auto json = described(key);
  if (!json.ok()) return std::move(json).error();
  return sha256(as_bytes(hadoop::dump_json(json->get())));
}

std::string differences(const KeyRecord& left, const KeyRecord& right) {
  const KeyMetadata &a = left.metadata, &b = right.metadata;
  Differences found;
  found.unless(a.cipher == b.cipher, "cipher");
  found.unless(a.bit_length == b.bit_length, "length");
  found.unless(a.description == b.description, "description");
  found.unless(a.attributes == b.attributes, "attributes");
  found.unless(a.created_ms == b.created_ms, "date");
  found.unless(a.versions == b.versions, "count of versions");
  found.unless(left.state == right.state, "state");
  found.unless(left.deleted_ms == right.deleted_ms, "deletion");
  found.unless(left.versions.size() == right.versions.size(), "versions that are there");
  for (std::size_t i = 0; i < left.versions.size() && i < right.versions.size(); ++i) {
    const KeyRecord::Version &x = left.versions[i], &y = right.versions[i];
    const std::string name = version_name(a.name, x.number);
    found.unless(x.number == y.number && x.material.equals(y.material.view()),
                 "material of " + name);
    found.unless(x.number != y.number || x.created_ms == y.created_ms, "date of " + name);
  }
  return found.take();
}

Secret records_text(JsonPtr head, const std::vector<KeyRecord>& keys) {
  json_t* list = json_array();
  json_object_set_new(head.get(), "keys", list);
  std::vector<ByteView> materials;
  for (const KeyRecord& key : keys) {
    JsonPtr json = metadata_of(key);
    json_t* versions = json_array();
    json_object_set_new(json.get(), "material", versions);
    for (const KeyRecord::Version& version : key.versions) {
      json_t* one = version_json(version);
      const ByteView material = version.material.view();
      hadoop::set_text(one, "material", std::string(base64url_length(material.size()), '.'));
      materials.push_back(material);
      json_array_append_new(versions, one);
    }
    json_array_append_new(list, json.release());
  }
  return hadoop::dump_with_materials(head.get(), materials);
}

Result<RecordsText> parse_records(ByteView text) {
  RecordsText out;
  out.head.reset(json_loadb(reinterpret_cast<const char*>(text.data()), text.size(),
                            JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, nullptr));
  json_t* list = json_object_get(out.head.get(), "keys");
  if (!json_is_array(list)) return Error(ErrorKind::corrupt, "it is no JSON of key records");
  for (std::size_t i = 0; i < json_array_size(list); ++i) {
    auto key = parse_record(json_array_get(list, i));
    if (!key.ok()) return std::move(key).error();
    out.keys.push_back(std::move(*key));
  }
  json_object_del(out.head.get(), "keys");
  return out;
}

}  // namespace kms
