// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "auth/signer.h"
#include "core/log.h"
#include "records/records.h"

namespace kms {

// Cookie secrets in a record that all nodes share: next, current and previous, with the date when
// next becomes current. Each node goes on to next at that date by itself, whether the store is
// there or not; whoever is first to write then adds a new next, which signs a whole period later,
// when every node has read it. While the store is away the secrets last read go on; where none were
// read yet, sign() is unavailable and verify() false. period_ms: how long a secret signs, which is
// the life of a cookie as well. records must outlive it. Error (configuration): a period of 0 or
// less.
Result<std::unique_ptr<SignerSecrets>> make_record_signer(Records& records, std::int64_t period_ms,
                                                          Logger& logger);

}  // namespace kms
