// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms {

inline constexpr std::string_view kTokenKind = "kms-dt";

// Who a delegation token stands for: Hadoop's AbstractDelegationTokenIdentifier, written as a
// Writable (kms-auth.md 4.1, 4.2). Texts are UTF-8 and at most 1 MiB long.
struct TokenIdentifier {
  std::string owner;                      // short name
  std::string renewer;                    // short name; empty: nobody may renew
  std::string real_user;                  // short name of who asked for owner; empty without doAs
  std::int64_t issue_ms = 0, max_ms = 0;  // ms since the epoch
  std::int32_t sequence = 0, master_key_id = 0;

  bool operator==(const TokenIdentifier&) const = default;
  Bytes encode() const;
  // Errors (authentication) carry what Java's exception would say, such as "java.io.EOFException".
  // Bytes behind the eighth field are not looked at, as in Java.
  static Result<TokenIdentifier> decode(ByteView bytes);
  // "kms-dt owner=alice, renewer=yarn, realUser=, issueDate=N, maxDate=N, sequenceNumber=N,
  // masterKeyId=N", for messages.
  std::string text() const;
};

// A delegation token as it travels: "urlString" (kms-auth.md 4.4).
struct WireToken {
  Bytes identifier;
  Secret password;
  std::string kind, service;

  // URL-safe base64 without padding. A bearer credential: it is not to be logged.
  Secret encode() const;
  // Takes both base64 alphabets, with padding or without. Errors (authentication) as above.
  static Result<WireToken> decode(std::string_view url_string);
};

// HMAC-SHA1 of the identifier's bytes under a master key of any length but 0: 20 bytes.
Result<Secret> token_password(ByteView master_key, ByteView identifier);

}  // namespace kms
