// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "auth/signer.h"
#include "core/log.h"
#include "zookeeper/options.h"

namespace kms {

// Cookie secrets in the znode of Hadoop's ZKSignerSecretProvider, shared with Java nodes: next,
// current and previous secret with the date of the roll-over, rolled by whichever node is first.
// Nothing is opened before attach(). While ZooKeeper is away the secrets last read go on; where
// none were read yet, sign() is unavailable and verify() false.
// rollover_ms is hadoop.kms.authentication.token.validity. Errors (configuration): an option that
// does not work, or support that this build lacks.
Result<std::unique_ptr<SignerSecrets>> make_zookeeper_signer(const ZooKeeperOptions& options,
                                                             std::int64_t rollover_ms,
                                                             Logger& logger);

}  // namespace kms
