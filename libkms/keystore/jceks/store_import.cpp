// SPDX-License-Identifier: Apache-2.0
// A key taken over from another store, as it is.
#include "keystore/checks.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {
Result<void> JceksStore::import_key(const KeyMetadata& metadata,
                                    std::span<const VersionPtr> versions) {
  KMS_TRY(check_import(metadata, versions));
  if (metadata.state != KeyState::active)
    return Error(ErrorKind::unsupported, "key " + metadata.name + " is " +
                                             std::string(key_state_name(metadata.state)) +
                                             ", and a keystore file keeps no states of keys");
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
