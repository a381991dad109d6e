// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <shared_mutex>
#include <unordered_map>

#include "auth/tokens/token_store.h"
#include "zookeeper/client.h"

namespace kms::zookeeper {

// Tokens and keys of whose nodes a watch is set. put() is called in the thread of answers, so that
// no watch fires before what it is for is in here. Thread-safe.
class TokenCache final : public Observer {
 public:
  explicit TokenCache(std::size_t max_tokens) : max_tokens_(max_tokens) {}

  // False: further tokens are to be looked up each time, without a watch. Those that end make room.
  bool has_room() const;
  TokenPtr token(std::int32_t number) const;
  void put(TokenPtr token);
  void drop_token(std::int32_t number);

  MasterKeyPtr key(std::int32_t id) const;
  // The one with the highest id that lives until then.
  MasterKeyPtr newest_key(std::int64_t expires_ms) const;
  void put(MasterKeyPtr key);
  void drop_key(std::int32_t id);

  void changed(std::string_view path) noexcept override;
  void session_lost() noexcept override;

 private:
  const std::size_t max_tokens_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::int32_t, TokenPtr> tokens_;
  std::unordered_map<std::int32_t, MasterKeyPtr> keys_;
};

}  // namespace kms::zookeeper
