// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "auth/signer.h"
#include "core/result.h"

namespace kms {

// The content of a hadoop.auth cookie (kms-auth.md section 1).
struct AuthToken {
  std::string user;                   // u: short name
  std::string principal;              // p: full name; ordinary calls are made as this one
  std::string type;                   // t: "simple-dt" or "kerberos-dt"
  std::int64_t max_inactive_ms = -1;  // i: ms since the epoch; -1 absent
  std::int64_t expires_ms = -1;       // e: ms since the epoch; -1 never

  bool expired(std::int64_t now_ms) const noexcept;
};

// u=…&p=…&t=…[&i=…]&e=…; error invalid_argument where a part is empty or holds '&', '"', ';' or a
// control character.
Result<std::string> token_text(const AuthToken& token);

// The value of the cookie without quotes: token_text, "&s=", signature by the current secret.
Result<std::string> sign_token(const AuthToken& token, SignerSecrets& secrets);

// Checks and parses a cookie value (quotes are taken off). The signature is compared in constant
// time with every valid secret before anything else is looked at. Errors carry the reason phrase of
// the table in kms-auth.md 1.5 and kind authentication; of an unsigned value it repeats 64 bytes,
// every one that is not printable ASCII as '?', so it fits in a status line (not in HTML as it is).
// wanted_type is the server's type; now_ms decides expiry.
Result<AuthToken> verify_cookie(std::string_view value, std::string_view wanted_type,
                                std::int64_t now_ms, SignerSecrets& secrets);

struct CookieAttributes {
  std::string path, domain;  // left out when empty
  bool persistent = false;   // Expires
  bool secure = false;
};
// The whole Set-Cookie value. An empty signed_value clears the cookie.
std::string set_cookie_header(std::string_view signed_value, std::int64_t expires_ms,
                              const CookieAttributes& attributes);

// Value of the first cookie named hadoop.auth in a Cookie header, quotes included; false when there
// is none.
bool find_auth_cookie(std::string_view cookie_header, std::string_view& value);

}  // namespace kms
