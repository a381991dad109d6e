// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms {

// What a store has in the place of the material of a version whose key is an object of a PKCS#11
// token. Nothing in it is secret; it is sealed as material is, so that nobody can point a version
// to another object.
struct KeyReference {
  std::string id;         // CKA_ID, raw bytes
  std::string label;      // CKA_LABEL: NAME@VERSION
  std::int32_t bits = 0;  // length of the key
  Bytes check;            // beginning of the encryption of a block of zeros; empty: not made yet
};

// JSON with a tag of its type.
Secret encode_reference(const KeyReference& reference);
// Whether this stands for a key of so many bits, and is none itself: it is longer or shorter than
// such a key, and has the tag.
bool is_reference(ByteView content, std::int32_t bits);
// Whatever its length, for what takes material from elsewhere.
bool has_reference_tag(ByteView content);
Result<KeyReference> parse_reference(ByteView content);  // Errors: corrupt

// The number of the record (kHsmPending) that says of an object, by its id, that no version refers
// to it: it is being made, or is to be destroyed. A store that commits a version with a reference
// takes the record away in the same transaction, and one without the record does not commit.
std::int64_t note_number(const std::string& id);

}  // namespace kms
