// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "auth/tokens/token_store.h"
#include "core/log.h"
#include "zookeeper/options.h"

namespace kms {

// Tokens and master keys on the znodes of Hadoop's ZKDelegationTokenSecretManager, shared with Java
// nodes. Errors (configuration) as for the signer.
Result<std::unique_ptr<TokenStore>> make_zookeeper_token_store(const ZooKeeperOptions& options,
                                                               Logger& logger);

}  // namespace kms
