// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms::seal {

// The key at the root of a store's seals. It wraps the data keys, one for each row, and never
// seals anything else, so that it may live in a device that only wraps and unwraps. Thread-safe.
class SealingKey {
 public:
  virtual ~SealingKey() = default;

  // Names the key without telling anything of it; stored beside what it wrapped.
  virtual const std::string& id() const = 0;
  // bound is authenticated with the data key and not stored.
  virtual Result<Bytes> wrap(const Secret& data_key, ByteView bound) = 0;
  // Errors: corrupt when wrapped or bound is not what wrap had; unavailable when a device that
  // holds the key cannot be reached.
  virtual Result<Secret> unwrap(ByteView wrapped, ByteView bound) = 0;
};

// A key of 32 bytes that this process holds. kind is the beginning of the id: "file", "passphrase".
Result<std::unique_ptr<SealingKey>> make_sealing_key(const std::string& kind, Secret key);

// The 32 random bytes of a key file. Errors (configuration): not a regular file of 32 bytes, or
// others than its owner and group may read it, or others than its owner write it.
Result<Secret> read_key_file(const std::string& path);

// How a passphrase becomes a sealing key; stored with the store, and no secret.
struct ScryptParameters {
  std::uint64_t n = 32768, r = 8, p = 1;  // 32 MiB, about 0.1 s
  Bytes salt;

  static Result<ScryptParameters> fresh();  // with a random salt
  std::string text() const;                 // JSON
  static Result<ScryptParameters> parse(const std::string& text);
};
Result<Secret> derive_sealing_key(const Secret& passphrase, const ScryptParameters& parameters);

}  // namespace kms::seal
