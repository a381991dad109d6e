// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/health.h"
#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms {

// The secrets that sign hadoop.auth cookies: one current, and those still accepted. Thread-safe.
class SignerSecrets {
 public:
  virtual ~SignerSecrets() = default;
  // In each child, after the fork. Secrets that cannot be reached now may come later; that is no
  // error, sign() answers unavailable until then.
  virtual Result<void> attach() { return {}; }
  // About once a second, from one thread.
  virtual void poll() noexcept {}
  // HMAC-SHA256 of text by the current secret, 32 bytes.
  virtual Result<std::array<std::uint8_t, 32>> sign(std::string_view text) = 0;
  // Whether base64 is the standard base64 of the HMAC by the current or the previous secret.
  // Constant time for each secret.
  virtual bool verify(std::string_view text, std::string_view base64) = 0;
  // Must not wait for anything.
  virtual Health condition() const noexcept { return {}; }
};

// One secret, never rolled.
std::unique_ptr<SignerSecrets> make_fixed_signer(Secret secret);
// The secret of a file, as Java takes it: a trailing newline belongs to it, bytes that are no UTF-8
// become U+FFFD. Errors (configuration) when it is unreadable, no regular file, empty or over 64
// KiB.
Result<Secret> read_signature_secret(const std::string& path);

// The secrets of a file that may be replaced while cookies live: path signs; path.next and
// path.previous, where they are, are accepted as well. Each process looks for changes in poll().
// What it has ever accepted it goes on accepting for keep_ms (the life of a cookie) after it has
// left the files. A file that cannot be read any more leaves the secrets as they are (KMS036x).
// attach() takes the secrets into the child's own memory; where the child may not read the files,
// those of the parent stay.
// Errors (configuration): those of read_signature_secret, for path alone.
Result<std::unique_ptr<SignerSecrets>> make_file_signer(const std::string& path,
                                                        std::int64_t keep_ms, Logger& logger);

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
