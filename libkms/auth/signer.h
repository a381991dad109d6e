// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms {

// The secrets that sign hadoop.auth cookies: one current, and those still accepted. Thread-safe.
class SignerSecrets {
 public:
  virtual ~SignerSecrets() = default;
  // HMAC-SHA256 of text by the current secret, 32 bytes.
  virtual Result<std::array<std::uint8_t, 32>> sign(std::string_view text) = 0;
  // Whether base64 is the standard base64 of the HMAC by the current or the previous secret.
  // Constant time for each secret.
  virtual bool verify(std::string_view text, std::string_view base64) = 0;
};

// One secret, never rolled.
std::unique_ptr<SignerSecrets> make_fixed_signer(Secret secret);
// The secret of a file, as Java takes it: a trailing newline belongs to it, bytes that are no UTF-8
// become U+FFFD. Errors (configuration) when it is unreadable, no regular file, empty or over 64
// KiB.
Result<Secret> read_signature_secret(const std::string& path);

// 32 random bytes, replaced every period, current and previous accepted; shared by all children
// through memory that the parent maps before the fork (MAP_SHARED) and keeps over graceful
// restarts. The caller locks it and keeps it out of core dumps (mlock, MADV_DONTDUMP).
inline constexpr std::size_t kSharedSignerBytes = 4096;
// Prepares the region in the parent: keeps live secrets of an earlier generation whose layout is
// the same, for which period_ms may be another, else draws new ones. region is zero-filled when
// new, page-aligned, kSharedSignerBytes long.
Result<void> init_shared_signer(void* region, std::int64_t period_ms);
// A view on a prepared region. Whichever process first finds the period over rolls the secret. One
// that is killed meanwhile leaves it whole and holds up nobody. In the normal case no lock is taken
// and no system call made.
std::unique_ptr<SignerSecrets> make_shared_signer(void* region);

}  // namespace kms
