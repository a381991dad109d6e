// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace kms {

// What becomes of results with '/' or '@', and of names that no rule matches
// (hadoop.security.auth_to_local.mechanism).
enum class NameMechanism {
  hadoop,  // both are errors
  mit,     // both are short names
};

// Hadoop's auth_to_local rules: full name of a user to short name (kms-auth.md section 3).
// Immutable after parse; thread-safe; cheap to copy.
class NameRules {
 public:
  // RULE:[1:$1] RULE:[2:$1], what Hadoop goes by where nothing is configured.
  NameRules();
  // default_realm is what DEFAULT compares with; empty: DEFAULT matches no realm. Errors
  // (configuration): "Invalid rule: REST", a pattern that does not compile.
  static Result<NameRules> parse(std::string_view rules, NameMechanism mechanism,
                                 std::string_view default_realm);

  // Errors (authentication), in Hadoop's words: "Malformed Kerberos name: X", "No rules applied to
  // X", "Non-simple name X after auth_to_local rule R", a bad format string.
  Result<std::string> short_name(std::string_view principal) const;

 private:
  struct Rules;
  explicit NameRules(std::shared_ptr<const Rules> rules) : rules_(std::move(rules)) {}
  std::shared_ptr<const Rules> rules_;
};

// default_realm of this host's krb5.conf, as libkrb5 says it; empty when there is none.
std::string default_kerberos_realm();

}  // namespace kms
