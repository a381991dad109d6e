// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "auth/tokens/token_store.h"
#include "core/log.h"
#include "records/records.h"

namespace kms {

// Tokens and master keys as records that all nodes share. A token that was found is answered from
// memory: one that another node cancelled is refused within a second, one that it renewed is taken
// at once. records must outlive it.
std::unique_ptr<TokenStore> make_record_token_store(Records& records, Logger& logger);

}  // namespace kms
