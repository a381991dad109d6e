// SPDX-License-Identifier: Apache-2.0
// Keys: create, roll, delete, list, metadata, versions.
#include "crypto/base64.h"
#include "rest/handlers.h"

namespace kms::rest {
namespace {

using hadoop::JsonPtr;
using hadoop::text_of;

constexpr std::string_view kAclNameAttribute = "key.acl.name";

Error null_body(const char* variable) {
  return Error(ErrorKind::null_value,
               std::string("Cannot invoke \"java.util.Map.get(Object)\" because \"") + variable +
                   "\" is null");
}

// Material of a create or roll request; the text is wiped from the parsed body.
Result<void> take_material(Exchange& x) {
  auto member = hadoop::string_member(x.body.get(), "material");
  if (!member.ok()) return std::move(member).error();
  if (*member == nullptr) return {};
  x.material = base64_decode_secret(text_of(*member));
  hadoop::wipe_member(x.body.get(), "material");
  x.wants_key_material_acl = true;
  return {};
}

Result<std::int32_t> length_member(const json_t* body) {
  const json_t* length = json_object_get(body, "length");
  if (length == nullptr) return 0;
  if (json_is_null(length)) {
    return Error(ErrorKind::null_value,
                 "Cannot invoke \"java.lang.Integer.intValue()\" because the return value of "
                 "\"java.util.Map.get(Object)\" is null");
  }
  const json_int_t value = json_integer_value(length);
  if (!json_is_integer(length) || value != static_cast<std::int32_t>(value))
    return hadoop::cast_error(length, "java.lang.Integer");
  return static_cast<std::int32_t>(value);
}

Result<void> take_attributes(const json_t* body, std::string_view key_name, KeyOptions& options) {
  const json_t* attributes = json_object_get(body, "attributes");
  if (attributes == nullptr || json_is_null(attributes)) return {};
  if (!json_is_object(attributes)) return hadoop::cast_error(attributes, "java.util.Map");
  for (void* it = json_object_iter(const_cast<json_t*>(attributes)); it != nullptr;
       it = json_object_iter_next(const_cast<json_t*>(attributes), it)) {
    const json_t* value = json_object_iter_value(it);
    // A null value would make the key unreadable for Java, so it is refused like any other
    // non-string.
    if (!json_is_string(value))
      return Error(ErrorKind::io, "Can't set metadata key " + std::string(key_name));
    options.attributes[json_object_iter_key(it)] = text_of(value);
  }
  return {};
}

Result<KeyOptions> create_options(const Exchange& x) {
  const json_t* body = x.body.get();
  KeyOptions options;
  options.cipher = x.service.default_cipher;
  options.bit_length = x.service.default_bit_length;
  auto cipher = hadoop::string_member(body, "cipher");
  if (!cipher.ok()) return std::move(cipher).error();
  if (*cipher != nullptr) options.cipher = text_of(*cipher);
  auto length = length_member(body);
  if (!length.ok()) return std::move(length).error();
  if (*length != 0) options.bit_length = *length;
  auto description = hadoop::string_member(body, "description");
  if (!description.ok()) return std::move(description).error();
  if (*description != nullptr) options.description = text_of(*description);
  KMS_TRY(take_attributes(body, x.audit_key, options));
  KMS_TRY(take_first_state(x.service.keys, options));
  return options;
}

// A key version on the wire under the spelling the client asked for. material null: none is shown.
Answer version_answer(std::string_view name, std::string_view version_name,
                      const KeyVersion& version, bool with_material) {
  Answer answer;
  if (!with_material || version.material.empty()) {
    answer.text = hadoop::dump_json(hadoop::key_version_json(name, version_name, nullptr).get());
    return answer;
  }
  const ByteView material = version.material.view();
  answer.secret_text = hadoop::dump_with_materials(
      hadoop::key_version_json(name, version_name, &material).get(), {material});
  return answer;
}

// Java has no store without material. A client that gets null instead of it would fail later, and
// elsewhere; this class ends its call at once.
Result<void> require_material(const KeyVersion& version) {
  if (!version.material.empty()) return {};
  return Error(ErrorKind::unsupported, "The material of " + version.version_name +
                                           " cannot be read: this KMS keeps its keys in an HSM");
}

std::string user_provided(const Secret* material) {
  return std::string("UserProvidedMaterial:") + (material != nullptr ? "true" : "false");
}

Answer missing_object() {
  return Answer::json("{ }");
}
Answer missing_list() {
  return Answer::json("[ ]");
}

}  // namespace

std::string requested_version_name(std::string_view name, const KeyVersion& version) {
  return std::string(name) + version.version_name.substr(version.version_name.rfind('@'));
}

Result<void> require_name(const Exchange& x) {
  if (x.name.empty()) return Error(ErrorKind::invalid_argument, "Parameter 'name' cannot be empty");
  return {};
}

const std::string& acl_name_of(const KeyMetadata& metadata) {
  const auto attribute = metadata.attributes.find(std::string(kAclNameAttribute));
  const bool named = attribute != metadata.attributes.end() && !attribute->second.empty();
  return named ? attribute->second : metadata.name;
}

Result<void> Exchange::touch(std::string_view key_name) {
  auto found = service.keys.metadata(key_name);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr) return {};
  const KeyMetadata& metadata = **found;
  if (service.limits != nullptr) limited_key = metadata.name;
  touched.push_back({acl_name_of(metadata)});
  return {};
}

Result<void> resolve_create(Exchange& x) {
  KMS_TRY(take_material(x));
  auto options = create_options(x);
  if (!options.ok()) return std::move(options).error();
  if (x.service.key_authorization) {
    std::string& acl_name = options->attributes[std::string(kAclNameAttribute)];
    if (acl_name.empty()) acl_name = x.audit_key;
    x.touched.push_back({acl_name});
  }
  x.create_options = std::move(*options);
  return {};
}

Result<Answer> run_create(Exchange& x) {
  const Secret* material = x.material.has_value() ? &*x.material : nullptr;
  x.audit_extra =
      user_provided(material) + " Description:" + x.create_options->description.value_or("null");
  auto created = x.service.keys.create(x.audit_key, *x.create_options, material,
                                       [&x](const KeyVersion* fresh) {
                                         x.audit_version = fresh->version_name;
                                         return x.record_done();
                                       });
  if (!created.ok()) return std::move(created).error();
  Answer answer =
      version_answer(x.audit_key, (*created)->version_name, **created,
                     x.op_allowed(OpAcl::get) && x.create_options->state == KeyState::active);
  answer.status = 201;
  answer.headers.emplace_back(
      "Location", std::string(x.request.base_url) + "/kms/v1/key/" + percent_encode(x.audit_key));
  return answer;
}

Result<void> resolve_roll(Exchange& x) {
  KMS_TRY(require_name(x));
  if (x.body == nullptr) return null_body("jsonMaterial");
  KMS_TRY(take_material(x));
  return x.touch(x.name);
}

Result<Answer> run_roll(Exchange& x) {
  const Secret* material = x.material.has_value() ? &*x.material : nullptr;
  std::string version;
  auto rolled = x.service.keys.roll(x.name, material, [&](const KeyVersion* fresh) {
    version = requested_version_name(x.name, *fresh);
    x.audit_extra = user_provided(material) + " NewVersion:" + version;
    x.audit_version = version;
    return x.record_done();
  });
  if (!rolled.ok()) return std::move(rolled).error();
  const bool usable = require_use(x, x.name, KeyUse::process).ok();
  return version_answer(x.name, version, **rolled, usable && x.op_allowed(OpAcl::get));
}

Result<void> resolve_named_key(Exchange& x) {
  return x.touch(x.name);
}

Result<void> resolve_delete(Exchange& x) {
  KMS_TRY(require_name(x));
  return x.touch(x.name);
}

Result<Answer> run_delete(Exchange& x) {
  KMS_TRY(x.service.keys.remove(x.name, [&x](const KeyVersion*) { return x.record_done(); }));
  return Answer::empty();
}

Result<Answer> run_invalidate(Exchange& x) {
  KMS_TRY(x.service.keys.invalidate(x.name));
  return Answer::empty();
}

// There may be very many: the text is made name by name.
Result<Answer> run_names(Exchange& x) {
  auto names = x.service.keys.names();
  if (!names.ok()) return std::move(names).error();
  std::string text = "[";
  for (const std::string& name : *names) {
    JsonPtr holder(json_object());
    hadoop::set_text(holder.get(), "n", name);
    text += text.size() == 1 ? "\n  " : ",\n  ";
    text += hadoop::dump_json(json_object_get(holder.get(), "n"));
  }
  text += text.size() == 1 ? "]" : "\n]";
  return Answer::json(std::move(text));
}

Result<void> resolve_bulk_metadata(Exchange& x) {
  for (std::string_view name : x.query.all("key")) KMS_TRY(x.touch(name));
  return {};
}

Result<Answer> run_bulk_metadata(Exchange& x) {
  JsonPtr list(json_array());
  for (std::string_view name : x.query.all("key")) {
    auto found = x.service.keys.metadata(name);
    if (!found.ok()) return std::move(found).error();
    JsonPtr item =
        *found == nullptr ? JsonPtr(json_object()) : hadoop::metadata_json(name, **found);
    json_array_append_new(list.get(), item.release());
  }
  return Answer::json(hadoop::dump_json(list.get()));
}

Result<Answer> run_metadata(Exchange& x) {
  auto found = x.service.keys.metadata(x.name);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr) return missing_object();
  return Answer::json(hadoop::dump_json(hadoop::metadata_json(x.name, **found).get()));
}

Result<Answer> run_current(Exchange& x) {
  auto found = x.service.keys.current_version(x.name);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr) return missing_object();
  x.version = *found;
  x.audit_version = x.version->version_name;
  KMS_TRY(require_use(x, x.name, KeyUse::process));
  KMS_TRY(require_material(**found));
  return version_answer(x.name, requested_version_name(x.name, **found), **found, true);
}

Result<Answer> run_versions(Exchange& x) {
  auto found = x.service.keys.versions(x.name);
  if (!found.ok()) return std::move(found).error();
  if (found->empty()) return missing_list();
  KMS_TRY(require_use(x, x.name, KeyUse::process));
  JsonPtr list(json_array());
  std::vector<ByteView> materials;
  for (const VersionPtr& version : *found) {
    KMS_TRY(require_material(*version));
    const ByteView material = version->material.view();
    materials.push_back(material);
    json_array_append_new(
        list.get(),
        hadoop::key_version_json(x.name, requested_version_name(x.name, *version), &material)
            .release());
  }
  Answer answer;
  answer.secret_text = hadoop::dump_with_materials(list.get(), materials);
  return answer;
}

Result<void> resolve_version(Exchange& x) {
  x.audit_version = x.name;
  const auto base = base_name(x.name);
  if (base.has_value()) {
    x.audit_key = *base;
    KMS_TRY(x.touch(*base));
  }
  auto found = x.service.keys.version(x.name);
  if (!found.ok()) return std::move(found).error();
  x.version = *found;
  // A version whose metadata is gone has no ACL name; its own name decides rather than nobody.
  if (x.version != nullptr && x.touched.empty()) x.touched.push_back({x.version->name});
  return {};
}

Result<Answer> run_version(Exchange& x) {
  if (x.version == nullptr) return missing_object();
  KMS_TRY(require_use(x, x.version->name, KeyUse::process));
  KMS_TRY(require_material(*x.version));
  return version_answer(x.audit_key, x.name, *x.version, true);
}

}  // namespace kms::rest
