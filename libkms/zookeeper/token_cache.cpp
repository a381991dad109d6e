// SPDX-License-Identifier: Apache-2.0
#include "zookeeper/token_cache.h"

#include <cstdlib>
#include <mutex>
#include <string>

namespace kms::zookeeper {
namespace {

template <class Map>
typename Map::mapped_type look_up(const Map& map, std::int32_t id) {
  const auto found = map.find(id);
  return found == map.end() ? nullptr : found->second;
}

}  // namespace

TokenPtr TokenCache::token(std::int32_t number) const {
  const std::shared_lock lock(mutex_);
  return look_up(tokens_, number);
}

bool TokenCache::has_room() const {
  const std::shared_lock lock(mutex_);
  return tokens_.size() < max_tokens_;
}

void TokenCache::put(TokenPtr token) {
  const std::unique_lock lock(mutex_);
  const std::int32_t number = token->identifier.sequence;
  tokens_[number] = std::move(token);
}

void TokenCache::drop_token(std::int32_t number) {
  const std::unique_lock lock(mutex_);
  tokens_.erase(number);
}

MasterKeyPtr TokenCache::key(std::int32_t id) const {
  const std::shared_lock lock(mutex_);
  return look_up(keys_, id);
}

MasterKeyPtr TokenCache::newest_key(std::int64_t expires_ms) const {
  const std::shared_lock lock(mutex_);
  MasterKeyPtr newest;
  for (const auto& [id, key] : keys_)
    if (key->expires_ms >= expires_ms && (!newest || id > newest->id)) newest = key;
  return newest;
}

void TokenCache::put(MasterKeyPtr key) {
  const std::unique_lock lock(mutex_);
  const std::int32_t id = key->id;
  keys_[id] = std::move(key);
}

void TokenCache::drop_key(std::int32_t id) {
  const std::unique_lock lock(mutex_);
  keys_.erase(id);
}

// All stores of one session hear of all its nodes. What is dropped in vain is read again.
void TokenCache::changed(std::string_view path) noexcept {
  const std::string name(path.substr(path.rfind('/') + 1));
  if (name.size() < 4 || name.size() > 14) return;
  const auto number = static_cast<std::int32_t>(std::atol(name.c_str() + 3));
  if (name.starts_with("DT_")) drop_token(number);
  if (name.starts_with("DK_")) drop_key(number);
}

void TokenCache::session_lost() noexcept {
  const std::unique_lock lock(mutex_);
  tokens_.clear();
  keys_.clear();
}

}  // namespace kms::zookeeper
