// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <unordered_set>

#include "auth/tokens/journal.h"
#include "auth/tokens/token_store.h"
#include "core/secret.h"

namespace kms::tokens {

// What a journal says, as of some length of it. Applying records again from an earlier point on
// leads to the same. Not thread-safe.
class TokenTable {
 public:
  void apply(Record record);

  TokenPtr find(const TokenIdentifier& identifier) const;
  bool has_sequence(std::int32_t sequence) const;
  bool has_expired(std::int64_t now_ms) const;  // a token whose renew_ms is before
  std::size_t count_expired(std::int64_t now_ms) const;
  std::size_t size() const noexcept { return tokens_.size(); }
  const std::map<std::int32_t, MasterKeyPtr>& keys() const noexcept { return keys_; }
  // The last sequence number of a token, as far as the journal goes back. Numbers go round.
  std::int32_t sequence() const noexcept { return sequence_; }

  // How long the records are that say the same in the shortest way, and these records.
  std::size_t snapshot_size() const noexcept { return bytes_ + sequence_size(); }
  void write_snapshot(std::uint8_t* to) const;

 private:
  struct HashSequence {
    using is_transparent = void;
    std::size_t operator()(std::int32_t sequence) const noexcept {
      return static_cast<std::uint32_t>(sequence);
    }
    std::size_t operator()(const TokenIdentifier& i) const noexcept { return (*this)(i.sequence); }
    std::size_t operator()(const TokenPtr& t) const noexcept { return (*this)(t->identifier); }
  };
  struct SameIdentifier {
    using is_transparent = void;
    bool operator()(const TokenPtr& a, const TokenPtr& b) const noexcept {
      return a->identifier == b->identifier;
    }
    bool operator()(const TokenPtr& a, const TokenIdentifier& b) const noexcept {
      return a->identifier == b;
    }
    bool operator()(const TokenIdentifier& a, const TokenPtr& b) const noexcept {
      return a == b->identifier;
    }
    bool operator()(const TokenPtr& a, std::int32_t b) const noexcept {
      return a->identifier.sequence == b;
    }
    bool operator()(std::int32_t a, const TokenPtr& b) const noexcept {
      return a == b->identifier.sequence;
    }
  };
  using Tokens = std::unordered_set<TokenPtr, HashSequence, SameIdentifier>;

  void change(TokenAdded& r);
  void change(TokenRenewed& r);
  void change(TokenRemoved& r);
  void change(TokensPurged& r);
  void change(KeyAdded& r);
  void change(KeysDropped& r);
  void change(SequenceReached& r);
  Tokens::iterator erase(Tokens::iterator token);
  void insert(TokenRecord token);
  std::size_t sequence_size() const;

  Tokens tokens_;
  std::map<std::int32_t, MasterKeyPtr> keys_;
  std::int32_t sequence_ = 0;
  std::size_t bytes_ = 0;  // of the records of all tokens and keys
};

// Whether a comes after b, where numbers go round.
inline bool is_after(std::int32_t a, std::int32_t b) noexcept {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b)) >
         0;
}

}  // namespace kms::tokens
