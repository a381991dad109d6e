// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/secret.h"
#include "crypto/sha256.h"
#include "hadoop/wire_json.h"
#include "keystore/keystore.h"

namespace kms {

// Everything that a store keeps of a key, to be moved elsewhere or compared.
struct KeyRecord {
  struct Version {
    std::int32_t number = 0;
    std::int64_t created_ms = 0;  // ms since the epoch, UTC
    Secret material;
  };
  KeyMetadata metadata;
  std::string state = "active";
  std::optional<std::int64_t> deleted_ms;  // ms since the epoch, UTC; of a key that is hidden
  std::vector<Version> versions;           // those that are there, by number
};

// As JSON, with digests in the place of the materials: {"name", "cipher", "length", "description",
// "attributes": [[NAME, VALUE]...], "created", "state", "deleted", "versions": COUNT, "material":
// [{"version", "created", "sha256"}...]}. A digest is of the version's name and the material, so
// that equal materials of two keys are not seen.
Result<hadoop::JsonPtr> described(const KeyRecord& key);
// SHA-256 over all of it. Two keys with one digest are the same.
Result<Sha256Digest> digest_of(const KeyRecord& key);
// What differs, in words, by commas; empty: nothing.
std::string differences(const KeyRecord& left, const KeyRecord& right);

// Many keys as JSON, materials (base64url) included, within head, which gets the member "keys".
Secret records_text(hadoop::JsonPtr head, const std::vector<KeyRecord>& keys);
// The other way. head becomes what is beside the keys. Errors: corrupt.
struct RecordsText {
  hadoop::JsonPtr head;
  std::vector<KeyRecord> keys;
};
Result<RecordsText> parse_records(ByteView text);

}  // namespace kms
