// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

// What is counted apart. The order is that of the cells in shared memory.
namespace kms {

// An operation of the REST API, or on delegation tokens.
enum class MetricOp : unsigned char {
  create_key,
  roll_key,
  delete_key,
  invalidate_cache,
  get_keys,
  get_keys_metadata,
  get_metadata,
  get_current_key,
  get_key_versions,
  get_key_version,
  generate_eek,
  decrypt_eek,
  reencrypt_eek,
  reencrypt_eek_batch,
  get_delegation_token,
  renew_delegation_token,
  cancel_delegation_token,
  undelete_key,
  purge_key,
  get_deleted_keys,
  set_key_state,
  get_key_state,
  options,
  other,  // no such resource or method, or a body that does not say which operation it is for
};
inline constexpr std::array<std::string_view, 24> kMetricOpNames = {"create_key",
                                                                    "roll_key",
                                                                    "delete_key",
                                                                    "invalidate_cache",
                                                                    "get_keys",
                                                                    "get_keys_metadata",
                                                                    "get_metadata",
                                                                    "get_current_key",
                                                                    "get_key_versions",
                                                                    "get_key_version",
                                                                    "generate_eek",
                                                                    "decrypt_eek",
                                                                    "reencrypt_eek",
                                                                    "reencrypt_eek_batch",
                                                                    "get_delegation_token",
                                                                    "renew_delegation_token",
                                                                    "cancel_delegation_token",
                                                                    "undelete_key",
                                                                    "purge_key",
                                                                    "get_deleted_keys",
                                                                    "set_key_state",
                                                                    "get_key_state",
                                                                    "options",
                                                                    "other"};

enum class MetricResult : unsigned char {
  ok,
  denied_op,     // by hadoop.kms.acl.* or hadoop.kms.blacklist.*
  denied_key,    // by key.acl.* and its like
  rate_limited,  // 429, by KMSRateLimit
  client_error,  // what the client asked for is wrong or not there
  server_error,
  unavailable,  // 503: lock, audit log, keystore, token store
};
inline constexpr std::array<std::string_view, 7> kMetricResultNames = {
    "ok", "denied_op", "denied_key", "rate_limited", "client_error", "server_error", "unavailable"};

enum class AuthOutcome : unsigned char {
  cookie,
  token,
  kerberos,
  pseudo,
  unauthenticated,
  refused
};
inline constexpr std::array<std::string_view, 6> kAuthOutcomeNames = {
    "cookie", "token", "kerberos", "pseudo", "unauthenticated", "refused"};

// The meters of the Java KMS (kms-auth.md 9).
enum class JavaMeter : unsigned char {
  admin,
  key,
  generate_eek,
  decrypt_eek,
  reencrypt_eek,
  reencrypt_eek_batch,
  unauthorized,
  unauthenticated,
  invalid,
};
inline constexpr std::array<std::string_view, 9> kJavaMeterNames = {
    "admin",         "key",
    "generate_eek",  "decrypt_eek",
    "reencrypt_eek", "reencrypt_eek_batch",
    "unauthorized",  "unauthenticated",
    "invalid"};

enum class TokenChange : unsigned char { store, update, remove };
inline constexpr std::array<std::string_view, 3> kTokenChangeNames = {"store", "update", "remove"};

inline constexpr std::array<std::string_view, 5> kLogLevelNames = {"error", "warn", "notice",
                                                                   "info", "debug"};

}  // namespace kms
