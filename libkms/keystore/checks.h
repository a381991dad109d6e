// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "core/result.h"
#include "keystore/keystore.h"

namespace kms {

// What every keystore asks of a key that is made or taken over. Errors: invalid_argument.
// The texts of a new key are UTF-8.
Result<void> check_texts(const KeyOptions& options);
// The metadata and its versions belong together, and are something that Java can read.
Result<void> check_import(const KeyMetadata& metadata, std::span<const VersionPtr> versions);

}  // namespace kms
