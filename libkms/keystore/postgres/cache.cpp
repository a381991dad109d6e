// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/cache.h"

#include <algorithm>

namespace kms::postgres {
namespace {

// A thread that saw more keys begins anew; the map of all threads has no such limit, but for names
// that no key has, which a client can make up.
constexpr std::size_t kMostOfThread = 4096;
constexpr std::size_t kMostAbsent = 10000;
constexpr std::size_t kManyVersions = 32;  // worth keeping aside

bool is_absent(const CachedKeyPtr& key) {
  return key != nullptr && key->metadata == nullptr && !key->broken.has_value();
}

}  // namespace

const CachedKey::Version* CachedKey::find(std::int32_t number) const {
  const auto at = std::lower_bound(
      versions.begin(), versions.end(), number,
      [](const Version& each, std::int32_t wanted) { return each.number < wanted; });
  return at != versions.end() && at->number == number ? &*at : nullptr;
}

// ThreadCached shows its objects as const since threads may share them; this one is the thread's
// own.
KeyCache::Mine& KeyCache::mine() const {
  const std::uint64_t now = epoch_.load(std::memory_order_acquire);
  const Mine* found = cached_.get(now);
  if (found == nullptr) found = cached_.put(now, std::make_shared<Mine>());
  return const_cast<Mine&>(*found);
}

const CachedKey* KeyCache::find_mine(std::uint64_t hash, std::string_view name) const {
  const Mine* found = cached_.get(epoch_.load(std::memory_order_acquire));
  if (found == nullptr) return nullptr;
  const auto at = found->keys.find(hash);
  return at != found->keys.end() && at->second->name == name ? at->second.get() : nullptr;
}

const CachedKey* KeyCache::find(std::uint64_t hash, std::string_view name) {
  Mine& own = mine();
  const std::lock_guard hold(mutex_);
  const auto at = keys_.find(hash);
  if (at == keys_.end() || at->second.dropped || at->second.key->name != name) return nullptr;
  if (own.keys.size() >= kMostOfThread) own.keys.clear();
  own.last = own.keys[hash] = at->second.key;
  return own.last.get();
}

CachedKeyPtr KeyCache::dropped(std::uint64_t hash, std::string_view name) {
  const std::lock_guard hold(mutex_);
  const auto at = keys_.find(hash);
  return at != keys_.end() && at->second.key->name == name ? at->second.key : nullptr;
}

const CachedKey* KeyCache::put(std::uint64_t hash, CachedKeyPtr key, std::uint64_t read_at_epoch) {
  Mine& own = mine();
  own.last = key;
  const std::lock_guard hold(mutex_);
  if (drops_.since(hash, read_at_epoch)) return own.last.get();
  if (const auto at = keys_.find(hash); at != keys_.end() && is_absent(at->second.key)) --absent_;
  if (is_absent(key) && ++absent_ > kMostAbsent) {
    std::erase_if(keys_, [](const auto& each) { return is_absent(each.second.key); });
    absent_ = 1;
  }
  keys_[hash] = Slot{std::move(key), false};
  return own.last.get();
}

KeyCache::Names KeyCache::names() {
  const std::lock_guard hold(mutex_);
  return names_;
}

void KeyCache::put_names(Names names) {
  const std::lock_guard hold(mutex_);
  if (names.era == names_.era) names_ = std::move(names);
}

void KeyCache::drop(std::uint64_t hash) {
  const std::lock_guard hold(mutex_);
  if (const auto at = keys_.find(hash); at != keys_.end()) {
    at->second.dropped = true;
    if (is_absent(at->second.key)) --absent_;
    if (at->second.key->versions.size() < kManyVersions) keys_.erase(at);
  }
  drops_.one(hash, epoch_.fetch_add(1, std::memory_order_acq_rel) + 1);
}

void KeyCache::drop_all() {
  const std::lock_guard hold(mutex_);
  keys_.clear();
  absent_ = 0;
  names_ = {nullptr, {}, 0, names_.era + 1};
  drops_.all(epoch_.fetch_add(1, std::memory_order_acq_rel) + 1);
}

}  // namespace kms::postgres
