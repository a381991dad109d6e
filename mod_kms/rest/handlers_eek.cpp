// SPDX-License-Identifier: Apache-2.0
// Encrypted keys: generate, decrypt, re-encrypt.
#include <charconv>

#include "crypto/base64.h"
#include "rest/handlers.h"

namespace kms::rest {
namespace {

using hadoop::JsonPtr;
using hadoop::text_of;

// Java sets no bound, and one request can then exhaust the server. Clients ask for a few hundred at
// most.
constexpr std::int64_t kMostKeysAtOnce = 100'000;

Error cannot_be_null(const char* parameter) {
  return Error(ErrorKind::invalid_argument,
               std::string("Parameter '") + parameter + "' cannot be null");
}

Error wrong_eek_op() {
  return Error(ErrorKind::invalid_argument,
               "IllegalArgumentException Wrong eek_op value, it must be generate or decrypt");
}

Result<void> member_bytes(const json_t* object, const char* name, Bytes& out) {
  auto member = hadoop::string_member(object, name);
  if (!member.ok()) return std::move(member).error();
  if (*member == nullptr) return cannot_be_null(name);
  out = base64_decode_lenient(text_of(*member));
  return {};
}

// num_keys as Integer.parseInt reads it; absent and empty are 1.
Result<std::int64_t> wanted_keys(const Query& query) {
  const std::string_view text = query.first("num_keys").value_or("");
  if (text.empty()) return 1;
  const std::string_view digits = text.front() == '+' ? text.substr(1) : text;
  std::int32_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool signs_twice = text.front() == '+' && digits.starts_with('-');
  if (problem != std::errc() || end != digits.data() + digits.size() || signs_twice) {
    return Error(ErrorKind::invalid_query, "java.lang.NumberFormatException: For input string: \"" +
                                               std::string(text) + "\"");
  }
  if (value > kMostKeysAtOnce) {
    return Error(ErrorKind::invalid_argument, "num_keys is " + std::string(text) +
                                                  ", more than the limit of " +
                                                  std::to_string(kMostKeysAtOnce));
  }
  return static_cast<std::int64_t>(value);
}

// Finds a version and makes sure that it belongs to the key named by the client, as Hadoop's
// verifyKeyVersionBelongsToKey. key_name null: the client gave none.
Result<VersionPtr> version_of_key(KeyStore& keys, std::string_view version,
                                  std::optional<std::string_view> key_name) {
  auto found = keys.version(version);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr)
    return Error(ErrorKind::invalid_argument, "'" + std::string(version) + "' not found");
  if (!key_name.has_value() || base_name(version) != key_name) {
    return Error(ErrorKind::invalid_argument, "KeyVersion '" + std::string(version) +
                                                  "' does not belong to the key '" +
                                                  std::string(key_name.value_or("null")) + "'");
  }
  return found;
}

Error no_current_version(std::string_view name) {
  return Error(ErrorKind::io, "java.lang.NullPointerException: No KeyVersion exists for key '" +
                                  std::string(name) + "'");
}

Result<VersionPtr> current_of(KeyStore& keys, std::string_view name) {
  auto found = keys.current_version(name);
  if (found.ok() && *found == nullptr) return no_current_version(name);
  return found;
}

}  // namespace

Result<void> check_generate(Exchange& x) {
  auto count = wanted_keys(x.query);
  if (!count.ok()) return std::move(count).error();
  x.wanted_keys = *count;
  KMS_TRY(require_name(x));
  const auto op = x.query.first("eek_op");
  if (!op.has_value()) return cannot_be_null("eekOp");
  if (op != "generate") return wrong_eek_op();
  return {};
}

Result<Answer> run_generate(Exchange& x) {
  KMS_TRY(require_use(x, x.name, KeyUse::protect));
  hadoop::EekListWriter list(x.name);
  if (x.wanted_keys > 0) {
    auto eeks = x.service.keys.generate_eeks(x.name, static_cast<std::size_t>(x.wanted_keys));
    if (!eeks.ok()) return std::move(eeks).error();
    if (eeks->empty()) return no_current_version(x.name);
    const std::string version = requested_version_name(x.name, *eeks->front().wrapped_by);
    x.version = eeks->front().wrapped_by;
    x.audit_version = x.version->version_name;
    for (const Eek& eek : *eeks) list.add(true, version, eek.iv, eek.material);
  }
  return Answer::json(std::move(list).finish());
}

Result<const Operation*> select_keyversion_eek(Exchange& x) {
  if (x.name.empty())
    return Error(ErrorKind::invalid_argument, "Parameter 'versionName' cannot be empty");
  const auto op = x.query.first("eek_op");
  if (!op.has_value()) return cannot_be_null("eekOp");
  if (x.body == nullptr) {
    return Error(ErrorKind::null_value,
                 "Cannot invoke \"java.util.Map.get(Object)\" because \"jsonPayload\" is null");
  }
  auto name = hadoop::string_member(x.body.get(), "name");
  if (!name.ok()) return std::move(name).error();
  KMS_TRY(member_bytes(x.body.get(), "iv", x.iv));
  KMS_TRY(member_bytes(x.body.get(), "material", x.eek));
  x.audit_key = *name != nullptr ? text_of(*name) : std::string_view("null");
  if (op == "decrypt") return &kDecryptEek;
  if (op == "reencrypt") return &kReencryptEek;
  return wrong_eek_op();
}

Result<void> resolve_eek(Exchange& x) {
  const bool named = json_is_string(json_object_get(x.body.get(), "name"));
  auto version =
      version_of_key(x.service.keys, x.name, named ? std::optional(x.audit_key) : std::nullopt);
  if (!version.ok()) return std::move(version).error();
  x.version = *version;
  x.audit_version = x.version->version_name;
  KMS_TRY(x.touch(x.audit_key));
  if (x.touched.empty()) x.touched.push_back({x.version->name});
  return {};
}

Result<Answer> run_decrypt(Exchange& x) {
  KMS_TRY(require_use(x, x.version->name, KeyUse::process));
  auto dek = x.service.keys.decrypt_eek(x.version, x.iv, x.eek);
  if (!dek.ok()) return std::move(dek).error();
  const ByteView material = dek->view();
  Answer answer;
  answer.secret_text = hadoop::dump_with_materials(
      hadoop::key_version_json(x.audit_key, "EK", &material).get(), {material});
  return answer;
}

Result<Answer> run_reencrypt(Exchange& x) {
  KMS_TRY(require_use(x, x.audit_key, KeyUse::protect));
  auto current = current_of(x.service.keys, x.audit_key);
  if (!current.ok()) return std::move(current).error();
  WrappedDek eek{x.iv, x.eek};
  KMS_TRY(x.service.keys.reencrypt_eeks(x.version, *current, {&eek, 1}));
  return Answer::json(hadoop::dump_json(
      hadoop::eek_json(x.audit_key, true, requested_version_name(x.audit_key, **current), eek.iv,
                       eek.material)
          .get()));
}

Result<void> check_batch(Exchange& x) {
  KMS_TRY(require_name(x));
  if (x.body == nullptr) return cannot_be_null("jsonPayload");
  return {};
}

namespace {

Result<void> check_element(const json_t* element) {
  if (json_is_null(element)) return cannot_be_null("valueMap");
  if (!json_is_object(element)) return hadoop::cast_error(element, "java.util.Map");
  for (const char* name : {"versionName", "iv"}) {
    auto member = hadoop::string_member(element, name);
    if (!member.ok()) return std::move(member).error();
    if (*member == nullptr) return cannot_be_null(name);
  }
  const json_t* inner = json_object_get(element, "encryptedKeyVersion");
  if (inner == nullptr || json_is_null(inner)) return cannot_be_null("encryptedKeyVersion");
  if (!json_is_object(inner)) return hadoop::cast_error(inner, "java.util.Map");
  auto version = hadoop::string_member(inner, "versionName");
  if (!version.ok()) return std::move(version).error();
  if (*version == nullptr) return cannot_be_null("versionName");
  if (text_of(*version) != "EEK") {
    return Error(ErrorKind::invalid_argument,
                 "encryptedKey version name must be 'EEK', but found '" +
                     std::string(text_of(*version)) + "'");
  }
  auto material = hadoop::string_member(inner, "material");
  if (!material.ok()) return std::move(material).error();
  if (*material == nullptr) return cannot_be_null("material");
  return {};
}

}  // namespace

Result<void> resolve_batch(Exchange& x) {
  const std::size_t count = json_array_size(x.body.get());
  for (std::size_t i = 0; i < count; ++i) KMS_TRY(check_element(json_array_get(x.body.get(), i)));
  x.batch_versions.reserve(count);
  std::string_view last_name;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view version =
        text_of(json_object_get(json_array_get(x.body.get(), i), "versionName"));
    // A batch is nearly always of one version; the look-up is saved for a run of the same.
    if (i > 0 && version == last_name) {
      x.batch_versions.push_back(x.batch_versions.back());
      continue;
    }
    auto found = version_of_key(x.service.keys, version, x.name);
    if (!found.ok()) return std::move(found).error();
    x.batch_versions.push_back(*found);
    last_name = version;
  }
  if (count == 0) return {};
  KMS_TRY(x.touch(x.name));
  if (x.touched.empty()) x.touched.push_back({x.batch_versions.front()->name});
  return {};
}

namespace {

WrappedDek wrapped_dek(const json_t* element) {
  const json_t* inner = json_object_get(element, "encryptedKeyVersion");
  return {base64_decode_lenient(text_of(json_object_get(element, "iv"))),
          base64_decode_lenient(text_of(json_object_get(inner, "material")))};
}

}  // namespace

Result<Answer> run_batch(Exchange& x) {
  hadoop::EekListWriter list(x.name);
  const std::size_t count = x.batch_versions.size();
  x.audit_extra = "reencrypted " + std::to_string(count) + " keys";
  if (count == 0) return Answer::json(std::move(list).finish());
  KMS_TRY(require_use(x, x.name, KeyUse::protect));
  auto current = current_of(x.service.keys, x.name);
  if (!current.ok()) return std::move(current).error();
  x.version = *current;
  x.audit_version = x.version->version_name;
  const std::string current_name = requested_version_name(x.name, **current);

  std::vector<WrappedDek> eeks;
  eeks.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    eeks.push_back(wrapped_dek(json_array_get(x.body.get(), i)));
  // Runs of one version go to the store together. An EEK of the current version is given back as it
  // came, without cryptography, and then without the inner name.
  for (std::size_t begin = 0, end = 0; begin < count; begin = end) {
    const VersionPtr& from = x.batch_versions[begin];
    while (end < count && x.batch_versions[end] == from) ++end;
    const std::span<WrappedDek> run(eeks.data() + begin, end - begin);
    const bool stays = from->version_name == (*current)->version_name;
    if (!stays) KMS_TRY(x.service.keys.reencrypt_eeks(from, *current, run));
    for (const WrappedDek& eek : run) list.add(!stays, current_name, eek.iv, eek.material);
  }
  return Answer::json(std::move(list).finish());
}

}  // namespace kms::rest
