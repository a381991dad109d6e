// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "auth/tokens/token_store.h"
#include "core/log.h"
#include "zookeeper/options.h"

namespace kms {

// Tokens and master keys on the znodes of Hadoop's ZKDelegationTokenSecretManager, shared with Java
// nodes. A token that was found once is answered from memory, with a watch on its node: what
// another process changed shows when that watch has come, some milliseconds later, and not at all
// while there is no connection. options.watch_tokens false: each find() asks ZooKeeper. Errors
// (configuration) as for the signer.
Result<std::unique_ptr<TokenStore>> make_zookeeper_token_store(const ZooKeeperOptions& options,
                                                               Logger& logger);

}  // namespace kms
