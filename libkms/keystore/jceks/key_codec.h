// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/jceks/gson.h"
#include "keystore/jceks/pbe.h"

namespace kms::jceks {

// What is sealed in a secret key entry: a serialized key version (SecretKeySpec, or a KeyRep that
// stands for one) or Hadoop's KeyMetadata.
struct SecretKey {
  std::string algorithm;
  Secret material;
};
using SealedKey = std::variant<StoredMetadata, SecretKey>;

// plaintext <-> key. Errors of decode: corrupt, with Java's reason.
Result<SealedKey> decode_key(ByteView plaintext);
Secret encode_secret_key(std::string_view algorithm, ByteView material);
Secret encode_metadata(const StoredMetadata& metadata);

// body of a secret key entry <-> key: the above, encrypted, in its outer stream.
Result<SealedKey> unseal_key(ByteView body, ByteView password,
                             std::int32_t max_iterations = kMaxIterations);
Result<Bytes> seal_key(ByteView plaintext, ByteView password, std::int32_t iterations);

}  // namespace kms::jceks
