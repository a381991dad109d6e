// SPDX-License-Identifier: Apache-2.0
#include "auth/tokens/token_table.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace kms::tokens {

void TokenTable::apply(Record record) {
  std::visit([this](auto& r) { change(r); }, record);
}

TokenPtr TokenTable::find(const TokenIdentifier& identifier) const {
  const auto it = tokens_.find(identifier);
  return it == tokens_.end() ? nullptr : *it;
}

bool TokenTable::has_sequence(std::int32_t sequence) const {
  return tokens_.find(sequence) != tokens_.end();
}

bool TokenTable::has_expired(std::int64_t now_ms) const {
  return std::ranges::any_of(tokens_, [&](const TokenPtr& t) { return t->renew_ms < now_ms; });
}

std::size_t TokenTable::count_expired(std::int64_t now_ms) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(tokens_, [&](const TokenPtr& t) { return t->renew_ms < now_ms; }));
}

void TokenTable::insert(TokenRecord token) {
  bytes_ += record_size(token);
  tokens_.insert(std::make_shared<const TokenRecord>(std::move(token)));
}

TokenTable::Tokens::iterator TokenTable::erase(Tokens::iterator token) {
  bytes_ -= record_size(**token);
  return tokens_.erase(token);
}

void TokenTable::change(TokenAdded& r) {
  if (const auto it = tokens_.find(r.token.identifier); it != tokens_.end()) erase(it);
  if (is_after(r.token.identifier.sequence, sequence_)) sequence_ = r.token.identifier.sequence;
  insert(std::move(r.token));
}

// Who has found the token keeps the record that he has, so it is replaced and not changed.
void TokenTable::change(TokenRenewed& r) {
  const auto it = tokens_.find(r.identifier);
  if (it == tokens_.end()) return;
  TokenRecord renewed{std::move(r.identifier), r.renew_ms, (*it)->password.clone()};
  erase(it);
  insert(std::move(renewed));
}

void TokenTable::change(TokenRemoved& r) {
  if (const auto it = tokens_.find(r.identifier); it != tokens_.end()) erase(it);
}

void TokenTable::change(TokensPurged& r) {
  for (auto it = tokens_.begin(); it != tokens_.end();)
    it = (*it)->renew_ms < r.before_ms ? erase(it) : std::next(it);
}

void TokenTable::change(KeyAdded& r) {
  auto& slot = keys_[r.key.id];
  if (slot != nullptr) bytes_ -= record_size(*slot);
  bytes_ += record_size(r.key);
  slot = std::make_shared<const MasterKey>(std::move(r.key));
}

void TokenTable::change(KeysDropped& r) {
  std::erase_if(keys_, [&](const auto& each) {
    if (each.second->expires_ms > r.now_ms) return false;
    bytes_ -= record_size(*each.second);
    return true;
  });
}

void TokenTable::change(SequenceReached& r) {
  if (is_after(r.sequence, sequence_)) sequence_ = r.sequence;
}

std::size_t TokenTable::sequence_size() const {
  return encode_record(SequenceReached{sequence_}).size();
}

void TokenTable::write_snapshot(std::uint8_t* to) const {
  auto write = [&](const Record& record) {
    const Secret bytes = encode_record(record);
    to = std::copy(bytes.view().begin(), bytes.view().end(), to);
  };
  write(SequenceReached{sequence_});
  for (const auto& [id, key] : keys_) write(KeyAdded{{id, key->expires_ms, key->secret.clone()}});
  for (const TokenPtr& token : tokens_)
    write(TokenAdded{{token->identifier, token->renew_ms, token->password.clone()}});
}

}  // namespace kms::tokens
