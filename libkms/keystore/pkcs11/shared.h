// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "keystore/pkcs11/pkcs11_store.h"
#include "pkcs11/profile.h"

namespace kms::pkcs11 {

// Of a URI without a file, with the metadata in a store that nodes share: as open_store(),
// examine(), destroy_orphans(). Without PostgreSQL in this build an error (configuration).
Result<std::unique_ptr<KeyStore>> open_shared_store(StoreOptions options, const Profile& profile,
                                                    Logger& logger, bool check_only);
Result<TokenReport> examine_shared(const StoreOptions& options, const Profile& profile,
                                   Logger& logger);
Result<void> destroy_shared_orphans(const StoreOptions& options, const Profile& profile,
                                    const std::vector<std::string>& ids, Logger& logger);

}  // namespace kms::pkcs11
