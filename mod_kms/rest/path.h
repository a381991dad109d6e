// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace kms::rest {

// The resources of kms-rest.md 1.1. Which methods each has is in the route table.
enum class Resource {
  root,              // /kms/v1
  keys,              // /kms/v1/keys
  key_names,         // /kms/v1/keys/names
  keys_metadata,     // /kms/v1/keys/metadata
  key,               // /kms/v1/key/NAME
  key_metadata,      // …/_metadata
  current_version,   // …/_currentversion
  key_versions,      // …/_versions
  key_eek,           // …/_eek
  invalidate_cache,  // …/_invalidatecache
  reencrypt_batch,   // …/_reencryptbatch
  key_state,         // …/_state
  key_version,       // /kms/v1/keyversion/VERSION
  key_version_eek,   // /kms/v1/keyversion/VERSION/_eek
  trustee_keys,      // /kms/v1/trustee/keys
  trustee_key,       // /kms/v1/trustee/key/NAME
};

struct PathMatch {
  Resource resource;
  std::string name;  // NAME or VERSION, decoded; empty for resources without one
};

// Finds the resource of a path as the client sent it: undecoded, without query. Literal segments
// match only as they are, "//" and "/../" are not folded, ";parameters" of a segment are dropped,
// one trailing slash is fine except behind a bare NAME, where it belongs to the name. nullopt: no
// such resource. Errors (invalid_argument): a name that is not UTF-8 after decoding, or holds a
// NUL.
Result<std::optional<PathMatch>> match_path(std::string_view raw_path);

// The path of a resource, with {name} or {version} where those stand: how it is called where no
// client's name may be shown.
std::string path_template(Resource resource);

// Decodes %XX; with plus_is_space also '+', as in a query. A '%' without two hex digits stays as it
// is.
std::string percent_decode(std::string_view text, bool plus_is_space);
// Encodes every byte but unreserved ones: a name as one path segment.
std::string percent_encode(std::string_view text);
bool is_utf8_without_nul(std::string_view text);

}  // namespace kms::rest
