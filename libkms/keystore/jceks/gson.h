// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "keystore/keystore.h"

namespace kms::jceks {

// KeyProvider.Metadata as the keystore has it: what is absent in the JSON stays absent, and
// attributes keep their order, so that a key that is rolled changes in nothing else.
struct StoredMetadata {
  std::optional<std::string> cipher;
  std::int32_t bit_length = 0;
  std::optional<std::int64_t> created_ms;
  std::optional<std::string> description;
  std::vector<std::pair<std::string, std::string>> attributes;
  std::int32_t versions = 0;

  KeyMetadata to_metadata(std::string name) const;
};

// Reads the JSON of a metadata entry exactly as Hadoop does with Gson 2.9's strict JsonReader: a
// member it does not know, a null or a boolean make the key unreadable, a number may be a string
// and the other way round, text after the object is ignored. Errors: corrupt.
Result<StoredMetadata> parse_metadata(ByteView json);

// The bytes that Gson's JsonWriter gives. All text must be UTF-8.
std::string write_metadata(const StoredMetadata& metadata);

}  // namespace kms::jceks
