// SPDX-License-Identifier: Apache-2.0
#include "keystore/checks.h"

#include "keystore/jceks/alias.h"
#include "keystore/jceks/modified_utf8.h"

namespace kms {
namespace {

Error bad(const KeyMetadata& metadata, const std::string& why) {
  return Error(ErrorKind::invalid_argument, "key " + metadata.name + ": " + why);
}

bool texts_are_utf8(const std::string& cipher, const std::optional<std::string>& description,
                    const std::map<std::string, std::string>& attributes) {
  bool good = jceks::is_utf8(cipher) && jceks::is_utf8(description.value_or(""));
  for (const auto& [name, value] : attributes)
    good = good && jceks::is_utf8(name) && jceks::is_utf8(value);
  return good;
}

}  // namespace

Result<void> check_texts(const KeyOptions& options) {
  if (texts_are_utf8(options.cipher, options.description, options.attributes)) return {};
  return Error(ErrorKind::invalid_argument, "The key's options are not UTF-8");
}

Result<void> check_import(const KeyMetadata& metadata, std::span<const VersionPtr> versions) {
  KMS_TRY(jceks::check_new_name(metadata.name));
  if (!texts_are_utf8(metadata.cipher, metadata.description, metadata.attributes))
    return bad(metadata, "its metadata is not UTF-8");
  if (metadata.cipher.empty()) return bad(metadata, "has no cipher");
  if (metadata.versions < 0) return bad(metadata, "has a negative count of versions");
  std::int32_t next = 0;
  for (const VersionPtr& version : versions) {
    while (next < metadata.versions && version->version_name != version_name(metadata.name, next))
      ++next;
    if (next == metadata.versions)
      return bad(metadata, version->version_name + " is none of its versions, or out of order");
    if (version->material.empty())
      return bad(metadata, version->version_name + " has material that never leaves its store");
    ++next;
  }
  return {};
}

}  // namespace kms
