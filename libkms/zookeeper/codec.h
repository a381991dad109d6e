// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "auth/tokens/token_store.h"
#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms::zookeeper {

// What Hadoop's nodes write into their znodes, byte for byte (kms-auth.md 1.6, 4.9). Everything is
// a Secret, since most of it is one. Errors (corrupt) say what is wrong, the caller adds the path.

// ZKSignerSecretProvider.
struct SignerSecretsData {
  Secret next, current, previous;  // previous may be empty
  std::int64_t rollover_ms = 0;    // when next becomes current, ms since the epoch
};
Secret encode_signer(const SignerSecretsData& secrets);
Result<SignerSecretsData> decode_signer(ByteView bytes);

// ZKDelegationTokenSecretManager.
Secret encode_master_key(const MasterKey& key);
Result<MasterKey> decode_master_key(ByteView bytes);
Secret encode_token(const TokenRecord& token);
Result<TokenRecord> decode_token(ByteView bytes);

// Curator's SharedCount.
Secret encode_count(std::int32_t count);
Result<std::int32_t> decode_count(ByteView bytes);

}  // namespace kms::zookeeper
