// SPDX-License-Identifier: Apache-2.0
// A key taken over from another store, as it is.
#include <algorithm>

#include "keystore/jceks/alias.h"
#include "keystore/jceks/modified_utf8.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {
namespace {

Error bad(const KeyMetadata& metadata, const std::string& why) {
  return Error(ErrorKind::invalid_argument, "key " + metadata.name + ": " + why);
}

// The metadata and its versions must belong together, and be something that Java can read.
Result<void> check_import(const KeyMetadata& metadata, std::span<const VersionPtr> versions) {
  KMS_TRY(check_new_name(metadata.name));
  bool texts = is_utf8(metadata.cipher) && is_utf8(metadata.description.value_or(""));
  for (const auto& [name, value] : metadata.attributes)
    texts = texts && is_utf8(name) && is_utf8(value);
  if (!texts) return bad(metadata, "its metadata is not UTF-8");
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

}  // namespace

Result<void> JceksStore::import_key(const KeyMetadata& metadata,
                                    std::span<const VersionPtr> versions) {
  KMS_TRY(check_import(metadata, versions));
  StoredMetadata stored;
  stored.cipher = metadata.cipher;
  stored.bit_length = metadata.bit_length;
  stored.created_ms = metadata.created_ms;
  stored.description = metadata.description;
  stored.attributes.assign(metadata.attributes.begin(), metadata.attributes.end());
  stored.versions = metadata.versions;
  Change change;
  for (const VersionPtr& version : versions) {
    auto sealed = seal_version(stored, version->material);
    if (!sealed.ok()) return std::move(sealed).error();
    change.put.push_back(
        version_entry(version->version_name, std::move(*sealed), version->material));
  }
  auto sealed = seal_metadata(stored);
  if (!sealed.ok()) return std::move(sealed).error();
  change.put.push_back(metadata_entry(metadata.name, std::move(*sealed), std::move(stored)));
  return commit(
      [&](const Snapshot& s) -> Result<Change> {
        for (const EntryPtr& entry : change.put)
          if (s.find(entry->raw().alias) != nullptr)
            return Error(ErrorKind::io,
                         "Key " + entry->raw().alias + " already exists in " + uri());
        return change;
      },
      {});
}

}  // namespace kms::jceks
