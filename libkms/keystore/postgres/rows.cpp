// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/rows.h"

#include "crypto/random.h"
#include "hadoop/wire_json.h"
#include "seal/aead.h"

namespace kms::postgres {
namespace {

// The fields that a seal binds, each with its length before it, so that none can take from the
// next.
class Bound {
 public:
  explicit Bound(std::string_view what) { text(what); }
  Bound& text(std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    return *this;
  }
  Bound& number(std::int64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8)
      bytes_.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> shift));
    return *this;
  }
  operator ByteView() const { return bytes_; }

 private:
  Bytes bytes_;
};

Bound bound_row_key(const KeyRow& row) {
  return Bound("kms_key data key, 1").text(row.name).text(row.incarnation);
}

Bound bound_row(const KeyRow& row) {
  Bound bound("kms_key, 1");
  bound.text(row.name).text(row.incarnation).text(row.cipher).number(row.bit_length);
  bound.text(row.details).number(row.created_ms).number(row.versions).text(row.state);
  bound.number(row.deleted_ms.has_value() ? 1 : 0).number(row.deleted_ms.value_or(0));
  return bound.number(row.revision);
}

Bound bound_version(std::string_view what, const KeyRow& row, std::int32_t number,
                    std::int64_t created_ms) {
  Bound bound(what);
  bound.text(row.name).text(row.incarnation).number(number).number(created_ms);
  return bound.text(row.cipher).number(row.bit_length).text(row.details).number(row.created_ms);
}

Bound bound_record_key(const RecordRow& row) {
  return Bound("kms_record data key, 1").text(row.kind).number(row.number);
}

Bound bound_record(const RecordRow& row) {
  Bound bound("kms_record, 1");
  bound.text(row.kind).number(row.number).number(row.expires_ms).number(row.revision);
  return bound;
}

constexpr std::string_view kVersion = "kms_key_version, 1";
constexpr std::string_view kVersionKey = "kms_key_version data key, 1";

Result<Secret> fresh_data_key() {
  Secret key(seal::kAeadKeySize);
  KMS_TRY(fill_private({key.data(), key.size()}));
  return key;
}

Error about_row(const char* table, const std::string& which, const Error& error) {
  Error about(error.kind, "The row " + which + " of " + table +
                              (error.kind == ErrorKind::corrupt
                                   ? " was changed, swapped or damaged: " + error.message
                                   : " cannot be opened: " + error.message));
  about.retry_after_s = error.retry_after_s;
  return about;
}

Error about_key(const KeyRow& row, const Error& error) {
  return about_row("kms_key", row.name, error);
}

Error about_version(const KeyRow& row, std::int32_t number, const Error& error) {
  return about_row("kms_key_version", version_name(row.name, number), error);
}

Error about_record(const RecordRow& row, const Error& error) {
  return about_row("kms_record", row.kind + " " + std::to_string(row.number), error);
}

}  // namespace

std::string details_of(const std::optional<std::string>& description,
                       const std::map<std::string, std::string>& attributes) {
  const hadoop::JsonPtr object(json_object());
  if (description.has_value()) hadoop::set_text(object.get(), "description", *description);
  const hadoop::JsonPtr map(json_object());
  for (const auto& [name, value] : attributes) hadoop::set_text(map.get(), name.c_str(), value);
  json_object_set(object.get(), "attributes", map.get());
  const std::unique_ptr<char, decltype(&std::free)> text(
      json_dumps(object.get(), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII), &std::free);
  return text != nullptr ? text.get() : std::string();
}

Result<KeyState> state_of(const KeyRow& row) {
  if (const auto state = key_state_of(row.state); state.has_value()) return *state;
  return about_key(row, Error(ErrorKind::corrupt, "its state is '" + row.state + "'"));
}

Result<MetadataPtr> metadata_of(const KeyRow& row) {
  const hadoop::JsonPtr object(
      json_loadb(row.details.data(), row.details.size(), JSON_ALLOW_NUL, nullptr));
  if (!json_is_object(object.get()))
    return about_key(row, Error(ErrorKind::corrupt, "its details are no JSON object"));
  auto made = std::make_shared<KeyMetadata>();
  made->name = row.name;
  made->cipher = row.cipher;
  made->bit_length = row.bit_length;
  made->created_ms = row.created_ms;
  made->versions = row.versions;
  auto state = state_of(row);
  if (!state.ok()) return std::move(state).error();
  made->state = *state;
  if (const json_t* text = json_object_get(object.get(), "description"); json_is_string(text))
    made->description = hadoop::text_of(text);
  json_t* map = json_object_get(object.get(), "attributes");
  const char* name = nullptr;
  json_t* value = nullptr;
  json_object_foreach(map, name, value) {
    made->attributes[name] = hadoop::text_of(value);
  }
  return MetadataPtr(std::move(made));
}

Result<void> Vault::seal(KeyRow& row) const {
  Result<Secret> key = row.wrapped_key.empty()
                           ? fresh_data_key()
                           : keys_->unwrap(row.seal_id, row.wrapped_key, bound_row_key(row));
  if (!key.ok()) return about_key(row, key.error());
  if (row.wrapped_key.empty()) {
    auto wrapped = keys_->wrap(*key, bound_row_key(row));
    if (!wrapped.ok()) return about_key(row, wrapped.error());
    row.wrapped_key = std::move(*wrapped);
    row.seal_id = seal_id();
  }
  auto tag = seal::aead_seal(key->view(), bound_row(row), {});
  if (!tag.ok()) return about_key(row, tag.error());
  row.tag = std::move(*tag);
  return {};
}

Result<void> Vault::check(const KeyRow& row) const {
  auto key = keys_->unwrap(row.seal_id, row.wrapped_key, bound_row_key(row));
  if (!key.ok()) return about_key(row, key.error());
  if (auto opened = seal::aead_open(key->view(), bound_row(row), row.tag); !opened.ok())
    return about_key(row, opened.error());
  return {};
}

Result<VersionRow> Vault::seal_version(const KeyRow& row, std::int32_t number,
                                       std::int64_t created_ms, const Secret& material) const {
  VersionRow made;
  made.version = number;
  made.created_ms = created_ms;
  made.seal_id = seal_id();
  auto key = fresh_data_key();
  if (!key.ok()) return about_version(row, number, key.error());
  auto sealed = seal::aead_seal(key->view(), bound_version(kVersion, row, number, created_ms),
                                material.view());
  if (!sealed.ok()) return about_version(row, number, sealed.error());
  auto wrapped = keys_->wrap(*key, bound_version(kVersionKey, row, number, created_ms));
  if (!wrapped.ok()) return about_version(row, number, wrapped.error());
  made.sealed = std::move(*sealed);
  made.wrapped_key = std::move(*wrapped);
  return made;
}

Result<Secret> Vault::open_version(const KeyRow& row, const VersionRow& version) const {
  const auto bound = [&](std::string_view what) {
    return bound_version(what, row, version.version, version.created_ms);
  };
  auto key = keys_->unwrap(version.seal_id, version.wrapped_key, bound(kVersionKey));
  if (!key.ok()) return about_version(row, version.version, key.error());
  auto material = seal::aead_open(key->view(), bound(kVersion), version.sealed);
  if (!material.ok()) return about_version(row, version.version, material.error());
  return material;
}

Result<void> Vault::seal_record(RecordRow& row, const Secret& content) const {
  auto key = fresh_data_key();
  if (!key.ok()) return about_record(row, key.error());
  auto sealed = seal::aead_seal(key->view(), bound_record(row), content.view());
  if (!sealed.ok()) return about_record(row, sealed.error());
  auto wrapped = keys_->wrap(*key, bound_record_key(row));
  if (!wrapped.ok()) return about_record(row, wrapped.error());
  row.sealed = std::move(*sealed);
  row.wrapped_key = std::move(*wrapped);
  row.seal_id = seal_id();
  return {};
}

Result<Secret> Vault::open_record(const RecordRow& row) const {
  auto key = keys_->unwrap(row.seal_id, row.wrapped_key, bound_record_key(row));
  if (!key.ok()) return about_record(row, key.error());
  auto content = seal::aead_open(key->view(), bound_record(row), row.sealed);
  if (!content.ok()) return about_record(row, content.error());
  return content;
}

Result<void> Vault::rewrap_key(Bytes& wrapped, std::string& seal_id, ByteView bound) const {
  auto key = keys_->unwrap(seal_id, wrapped, bound);
  if (!key.ok()) return std::move(key).error();
  auto again = keys_->wrap(*key, bound);
  if (!again.ok()) return std::move(again).error();
  wrapped = std::move(*again);
  seal_id = keys_->id();
  return {};
}

Result<void> Vault::rewrap(KeyRow& row) const {
  auto done = rewrap_key(row.wrapped_key, row.seal_id, bound_row_key(row));
  if (!done.ok()) return about_key(row, done.error());
  return {};
}

Result<void> Vault::rewrap_version(const KeyRow& row, VersionRow& version) const {
  auto done = rewrap_key(version.wrapped_key, version.seal_id,
                         bound_version(kVersionKey, row, version.version, version.created_ms));
  if (!done.ok()) return about_version(row, version.version, done.error());
  return {};
}

Result<void> Vault::rewrap_record(RecordRow& row) const {
  auto done = rewrap_key(row.wrapped_key, row.seal_id, bound_record_key(row));
  if (!done.ok()) return about_record(row, done.error());
  return {};
}

}  // namespace kms::postgres
