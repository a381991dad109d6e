// SPDX-License-Identifier: Apache-2.0
#include "records/token_store.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "core/clock.h"
#include "crypto/random.h"

namespace kms {
namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::int64_t kNumbersAtOnce = 100;
constexpr int kMostTries = 20;  // of what others do at the same moment

// A record that is damaged, or sealed by another key, answers as one that cannot be read: the log
// says which.
Error away(Error error) {
  error.kind = ErrorKind::unavailable;
  return error;
}

// Length of the password, the password, the identifier.
Secret encode(const TokenRecord& token) {
  const Bytes identifier = token.identifier.encode();
  const ByteView password = token.password.view();
  Secret out(1 + password.size() + identifier.size());
  out.data()[0] = static_cast<std::uint8_t>(password.size());
  std::uint8_t* to = std::copy(password.begin(), password.end(), out.data() + 1);
  std::copy(identifier.begin(), identifier.end(), to);
  return out;
}

Result<TokenPtr> decode(const Record& record) {
  const ByteView bytes = record.content.view();
  const Error other(ErrorKind::unavailable,
                    "The record of a delegation token holds something else");
  if (bytes.empty() || bytes.size() < std::size_t{1} + bytes[0]) return other;
  auto identifier = TokenIdentifier::decode(bytes.subspan(1 + bytes[0]));
  if (!identifier.ok()) return other;
  auto token = std::make_shared<TokenRecord>();
  token->identifier = std::move(*identifier);
  token->renew_ms = record.expires_ms;
  token->password = Secret(bytes.subspan(1, bytes[0]));
  return TokenPtr(std::move(token));
}

MasterKeyPtr key_of(const RecordPtr& record) {
  if (record == nullptr) return nullptr;
  auto key = std::make_shared<MasterKey>();
  key->id = static_cast<std::int32_t>(record->number);
  key->expires_ms = record->expires_ms;
  key->secret = record->content.clone();
  return key;
}

class RecordTokenStore final : public TokenStore {
 public:
  RecordTokenStore(Records& records, Logger& logger) : records_(records), logger_(logger) {}

  Result<void> attach() override {
    attached_ = true;
    return {};
  }
  Health condition() const noexcept override;
  Result<MasterKeyPtr> current_key(std::int64_t now_ms, const KeyPolicy& policy) override;
  Result<MasterKeyPtr> key(std::int32_t id) override;
  Result<std::int32_t> next_sequence() override;
  Result<void> add(TokenRecord token) override;
  Result<TokenPtr> find(const TokenIdentifier& identifier) override;
  Result<bool> renew(const TokenIdentifier& identifier, std::int64_t renew_ms) override;
  Result<bool> remove(const TokenIdentifier& identifier) override;
  Result<std::size_t> purge(std::int64_t now_ms) override;

 private:
  Result<RecordPtr> newest_key(std::int64_t now_ms, std::int64_t until_ms);
  Result<bool> make_key(std::int32_t id, std::int64_t expires_ms);
  // The record, when its token is this one; null: it is not.
  Result<RecordPtr> record_of(const TokenIdentifier& identifier);

  Records& records_;
  Logger& logger_;
  std::atomic<bool> attached_{false};
  std::atomic<std::int32_t> key_id_{0};  // of the last key that made tokens here
  std::mutex numbers_mutex_;             // guards what follows
  std::int64_t number_ = 0, numbers_left_ = 0;
};

Health RecordTokenStore::condition() const noexcept {
  if (!attached_) return {};
  Health store = records_.condition();
  if (store.state == HealthState::degraded)
    store.text =
        "the store of the tokens is out of reach; those in memory are taken for a while, changes "
        "are refused";
  if (store.state == HealthState::failing) store.text = "the store of the tokens is out of reach";
  return store;
}

// --- master keys

Result<MasterKeyPtr> RecordTokenStore::key(std::int32_t id) {
  auto record = records_.find(kTokenKey, id);
  if (!record.ok()) return away(std::move(record).error());
  return key_of(*record);
}

// The last one, which need not be good for so long any more; null: there is none. Those whose life
// is over are removed, but for the last, so that no number comes again.
Result<RecordPtr> RecordTokenStore::newest_key(std::int64_t now_ms, std::int64_t until_ms) {
  auto all = records_.read_all(kTokenKey);
  if (!all.ok()) return away(std::move(all).error());
  if (all->empty()) return RecordPtr();
  RecordPtr last = all->back();
  if (last->expires_ms >= until_ms) return last;
  for (const RecordPtr& each : *all) {
    if (each == last || each->expires_ms >= now_ms) continue;
    if (auto gone = records_.remove(kTokenKey, each->number); !gone.ok())
      return away(std::move(gone).error());
  }
  return last;
}

Result<bool> RecordTokenStore::make_key(std::int32_t id, std::int64_t expires_ms) {
  Record fresh;
  fresh.number = id;
  fresh.expires_ms = expires_ms;
  fresh.content = Secret(kKeyBytes);
  KMS_TRY(fill_private({fresh.content.data(), fresh.content.size()}));
  auto mine = records_.put(kTokenKey, fresh);
  if (!mine.ok()) return away(std::move(mine).error());
  if (*mine)
    logger_.log(LogLevel::info, "KMS0375",
                "new master key " + std::to_string(id) + " for delegation tokens");
  return mine;
}

// Whoever is second finds the first one's key.
Result<MasterKeyPtr> RecordTokenStore::current_key(std::int64_t now_ms, const KeyPolicy& policy) {
  const std::int64_t until = now_ms + policy.max_lifetime_ms;
  if (const std::int32_t known = key_id_.load(); known != 0) {
    auto mine = key(known);
    if (!mine.ok() || (*mine != nullptr && (*mine)->expires_ms >= until)) return mine;
  }
  for (int i = 0; i < kMostTries; ++i) {
    auto last = newest_key(now_ms, until);
    if (!last.ok()) return std::move(last).error();
    if (*last != nullptr && (*last)->expires_ms >= until) {
      key_id_.store(static_cast<std::int32_t>((*last)->number));
      return key_of(*last);
    }
    const std::int64_t id = (*last != nullptr ? (*last)->number : 0) + 1;
    const auto made = make_key(static_cast<std::int32_t>(id), until + policy.update_interval_ms);
    if (!made.ok()) return made.error();
  }
  return Error(ErrorKind::unavailable, "No master key for delegation tokens could be made");
}

// --- tokens

// Numbers go round, as Java's do.
Result<std::int32_t> RecordTokenStore::next_sequence() {
  const std::lock_guard hold(numbers_mutex_);
  if (numbers_left_ == 0) {
    const auto first = records_.take_numbers(kToken, kNumbersAtOnce);
    if (!first.ok()) return away(first.error());
    number_ = *first;
    numbers_left_ = kNumbersAtOnce;
  }
  --numbers_left_;
  return static_cast<std::int32_t>(number_++);
}

Result<void> RecordTokenStore::add(TokenRecord token) {
  if (token.password.size() > 255)
    return Error(ErrorKind::internal, "A password of a token is too long");
  Record record;
  record.number = token.identifier.sequence;
  record.expires_ms = token.renew_ms;
  record.content = encode(token);
  const auto mine = records_.put(kToken, record);
  if (!mine.ok()) return away(mine.error());
  if (*mine) return {};
  return Error(ErrorKind::unavailable,
               "The number of the token " + std::to_string(record.number) + " is taken");
}

// One that seems to be over may have been renewed by another node a moment ago.
Result<TokenPtr> RecordTokenStore::find(const TokenIdentifier& identifier) {
  auto record = records_.find(kToken, identifier.sequence);
  if (record.ok() && *record != nullptr && (*record)->expires_ms < now_ms())
    record = records_.read(kToken, identifier.sequence);
  if (!record.ok()) return away(std::move(record).error());
  if (*record == nullptr) return TokenPtr();
  auto token = decode(**record);
  if (token.ok() && (*token)->identifier != identifier) return TokenPtr();
  return token;
}

Result<RecordPtr> RecordTokenStore::record_of(const TokenIdentifier& identifier) {
  auto record = records_.read(kToken, identifier.sequence);
  if (!record.ok()) return away(std::move(record).error());
  if (*record == nullptr) return RecordPtr();
  auto token = decode(**record);
  if (!token.ok()) return std::move(token).error();
  return (*token)->identifier == identifier ? *record : RecordPtr();
}

Result<bool> RecordTokenStore::renew(const TokenIdentifier& identifier, std::int64_t renew_ms) {
  for (int i = 0; i < kMostTries; ++i) {
    auto found = record_of(identifier);
    if (!found.ok()) return std::move(found).error();
    if (*found == nullptr) return false;
    Record renewed;
    renewed.number = (*found)->number;
    renewed.expires_ms = renew_ms;
    renewed.revision = (*found)->revision;
    renewed.content = (*found)->content.clone();
    const auto mine = records_.put(kToken, renewed);
    if (!mine.ok()) return away(mine.error());
    if (*mine) return true;
  }
  return Error(ErrorKind::unavailable, "The token was changed by others again and again");
}

Result<bool> RecordTokenStore::remove(const TokenIdentifier& identifier) {
  auto found = record_of(identifier);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr) return false;
  auto removed = records_.remove(kToken, identifier.sequence);
  if (!removed.ok()) return away(std::move(removed).error());
  return removed;
}

// A store that is away is not waited for: what is over is refused all the same.
Result<std::size_t> RecordTokenStore::purge(std::int64_t now_ms) {
  if (records_.condition().state != HealthState::good)
    return Error(ErrorKind::unavailable, "the store of the tokens is out of reach");
  auto removed = records_.remove_expired(kToken, now_ms);
  if (!removed.ok()) return away(std::move(removed).error());
  return removed;
}

}  // namespace

std::unique_ptr<TokenStore> make_record_token_store(Records& records, Logger& logger) {
  return std::make_unique<RecordTokenStore>(records, logger);
}

}  // namespace kms
