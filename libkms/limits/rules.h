// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace kms {

// What a limit counts by: the short name of the user in whose name a request is made (with doAs
// the doAs user), or the key as it is stored.
enum class LimitScope : std::uint8_t { user, key };

// Classes of operations; a rule counts one or several of them together.
enum class LimitClass : std::uint8_t {
  decrypt = 1,   // DECRYPT_EEK
  generate = 2,  // GENERATE_EEK, REENCRYPT_EEK, REENCRYPT_EEK_BATCH; each EEK counts
  manage = 4,    // CREATE_KEY, ROLL_NEW_VERSION, DELETE_KEY, INVALIDATE_CACHE
  read = 8,      // names, metadata, key versions with their material
};

// One rule: a bucket of burst operations for each user or key, which fills again by rate in period.
struct LimitRule {
  LimitScope scope = LimitScope::user;
  std::uint8_t classes = 0;  // bits of LimitClass
  std::int64_t rate = 0;
  std::int64_t period_s = 1;
  std::int64_t burst = 0;
  std::string text;  // as it was written, for messages
  std::string tag;   // what it counts, without how much: the same over a change of the rate

  bool counts(LimitScope s, LimitClass c) const {
    return scope == s && (classes & static_cast<std::uint8_t>(c)) != 0;
  }
};

// An alarm: more than count decrypts of a user or a key in a window.
struct AlarmRule {
  LimitScope scope = LimitScope::user;
  std::int64_t count = 0;
  std::int64_t window_s = 60;
  std::string text, tag;
};

inline constexpr std::size_t kMostLimitRules = 32;  // of each kind
inline constexpr std::int64_t kMostLimitCount = 1'000'000;

std::string_view limit_scope_name(LimitScope scope);

// "user|key CLASS[,CLASS...] N/second|minute|hour [burst=N]", words in any case. burst is the N of
// the rate when it is not said. Error (configuration): what is wrong with the text.
Result<LimitRule> parse_limit_rule(std::string_view text);
// "user|key N/second|minute|hour".
Result<AlarmRule> parse_alarm_rule(std::string_view text);

// Rules with ';' between them; empty, or the word "none": no rule.
Result<std::vector<LimitRule>> parse_limit_rules(std::string_view text);
Result<std::vector<AlarmRule>> parse_alarm_rules(std::string_view text);

}  // namespace kms
