// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "command.h"

namespace kmsctl {

// The file that key export-metadata writes and key import reads:
// {"format": "kmsctl key metadata 1", "keys": [{"name": …, "cipher": …, "length": …, …}]}
inline constexpr const char* kMetadataFormat = "kmsctl key metadata 1";

// The whole file, checked as far as every reader needs it: "keys" is an array of objects, each with
// a "name". Errors (io) name the file and the place.
Result<JsonPtr> read_metadata_file(const std::string& path);

// Names of keys to their attribute key.acl.name, where they have one.
Result<std::map<std::string, std::string>> read_acl_names(const std::string& path);

}  // namespace kmsctl
