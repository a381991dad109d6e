// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace kms {

// What went wrong, as far as a caller must tell cases apart. hadoop/exceptions.h maps each kind to
// the HTTP status and the Java class that Hadoop clients expect.
enum class ErrorKind {
  invalid_argument,    // a parameter is missing or unusable
  invalid_key_length,  // the cipher has no such key size
  unknown_cipher,      // no key generator for the cipher
  io,                  // a failure of the key provider, in Java's words
  wrong_type,          // JSON member of another type than wanted
  null_value,          // JSON null where a value is needed
  malformed_json,      // not JSON
  unexpected_json,     // JSON of another shape, or none
  invalid_query,       // a query parameter that does not parse
  missing_media_type,  // body without a usable Content-Type
  not_authorized,      // an ACL says no
  authentication,      // credentials are refused for good
  no_such_route,
  method_not_allowed,
  not_acceptable,
  unsupported_media_type,
  too_large,       // body past the limit
  key_state,       // the state of the key forbids it (key_state.h)
  unavailable,     // try again later: audit log, lock or keystore out of reach
  rate_limited,    // too many of these for now; nothing was done
  configuration,   // text names file, line and property
  corrupt,         // stored bytes are damaged
  wrong_password,  // keystore digest does not match
  unsupported,     // asked for on purpose, not offered
  internal,
};

// An error as a value. The message is for people; it never carries key material. An absent message
// (has_message false) is Java's null message on the wire.
struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string message;
  bool has_message = true;
  std::int64_t retry_after_s = 0;  // for rate_limited and unavailable; 0: not known

  Error(ErrorKind k, std::string text) : kind(k), message(std::move(text)) {}
  static Error without_message(ErrorKind k) {
    Error e(k, {});
    e.has_message = false;
    return e;
  }
};

}  // namespace kms
