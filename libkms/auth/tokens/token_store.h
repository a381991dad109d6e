// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "auth/tokens/identifier.h"
#include "core/health.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms {

// A key under which token passwords are made. Immutable once in a store.
struct MasterKey {
  std::int32_t id = 0;
  std::int64_t expires_ms = 0;  // ms since the epoch; from then on it may be dropped
  Secret secret;
};
using MasterKeyPtr = std::shared_ptr<const MasterKey>;

// A token that is valid until renew_ms, unless it is renewed.
struct TokenRecord {
  TokenIdentifier identifier;
  std::int64_t renew_ms = 0;  // ms since the epoch
  Secret password;
};
using TokenPtr = std::shared_ptr<const TokenRecord>;

struct KeyPolicy {
  std::int64_t update_interval_ms;  // how long a master key makes new tokens
  std::int64_t max_lifetime_ms;     // and how long after that it must be there for renewals
};

// Where delegation tokens and their master keys live: shared by every child of an httpd, and by as
// many nodes as the kind of store allows. What a call of one process has answered, every later call
// of any other sees. Nothing is opened before attach(). Thread-safe after it. Errors: unavailable
// when the store cannot be reached, read or written; then nothing was changed, unless the text says
// that the outcome is not known.
class TokenStore {
 public:
  virtual ~TokenStore() = default;

  // In each child, after the fork. A store that is away now may come later; that is no error.
  virtual Result<void> attach() = 0;
  // About once a second, from one thread.
  virtual void poll() noexcept {}
  // Must not wait for anything.
  virtual Health condition() const noexcept { return {}; }

  // The key to make tokens with at now_ms: the newest whose life is at least max_lifetime longer,
  // or a new one with a life of update_interval + max_lifetime. Drops keys whose life is over.
  virtual Result<MasterKeyPtr> current_key(std::int64_t now_ms, const KeyPolicy& policy) = 0;
  // Null when there is none with this id.
  virtual Result<MasterKeyPtr> key(std::int32_t id) = 0;

  // Never the same twice while a token with it may live.
  virtual Result<std::int32_t> next_sequence() = 0;
  // Durable when it returns.
  virtual Result<void> add(TokenRecord token) = 0;
  // The token whose identifier equals this one in all fields; null when there is none. This is the
  // hot path of jobs that authenticate each call by a token.
  virtual Result<TokenPtr> find(const TokenIdentifier& identifier) = 0;
  // False when there is no such token (any more).
  virtual Result<bool> renew(const TokenIdentifier& identifier, std::int64_t renew_ms) = 0;
  virtual Result<bool> remove(const TokenIdentifier& identifier) = 0;
  // Removes the tokens whose renew_ms is before now_ms; says how many.
  virtual Result<std::size_t> purge(std::int64_t now_ms) = 0;
};

}  // namespace kms
