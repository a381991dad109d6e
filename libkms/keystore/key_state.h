// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace kms {

// The life of a key by NIST SP 800-57 part 1 rev. 5, chapter 7. It is the key's, so all its
// versions have it. The last state, destroyed, is a key that was deleted.
enum class KeyState {
  pre_active,   // made, and not to be used yet
  active,       // encrypts and decrypts
  suspended,    // for a while neither
  deactivated,  // decrypts what there is; for good
  compromised,  // the same, since others may know it; for good
};

// "pre-active"
std::string_view key_state_name(KeyState state);
std::optional<KeyState> key_state_of(std::string_view name);

// What is done with a key: protect makes something that only it can open (new EEKs, re-encrypted
// ones); process opens what there is, as does whoever gets its material; roll makes a version.
enum class KeyUse { protect, process, roll };
// Error key_state, whose text names the key and its state.
Result<void> check_key_use(std::string_view name, KeyState state, KeyUse use);

// Error invalid_argument unless SP 800-57 has this way from one state to the other, or they are the
// same.
Result<void> check_key_transition(std::string_view name, KeyState from, KeyState to);

// The attribute by which a client that creates a key says the state that it begins with.
inline constexpr std::string_view kKeyStateAttribute = "kms.key.state";

}  // namespace kms
