// SPDX-License-Identifier: Apache-2.0
#include "zookeeper/token_store.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/clock.h"
#include "crypto/random.h"
#include "zookeeper/client.h"
#include "zookeeper/codec.h"
#include "zookeeper/token_cache.h"

namespace kms {
namespace {

using zookeeper::Client;
using zookeeper::Deadline;
using zookeeper::Reply;
using zookeeper::TokenCache;
using Steady = std::chrono::steady_clock;

const std::string kPrefix = "hadoop.kms.authentication.zk-dt-secret-manager.";
const zookeeper::PropertyNames kNames = {kPrefix + "zkAuthType", kPrefix + "ssl.enabled",
                                         kPrefix + "ssl.keystore.location",
                                         kPrefix + "ssl.truststore.location"};
constexpr std::size_t kKeyBytes = 32;
constexpr std::int64_t kFreshMs = 60000;  // how long a server may lag behind the leader
constexpr std::size_t kAtOnce = 200;
// After a break the C client sends the paths of all watches in one packet, which a server takes up
// to 1 MiB.
constexpr std::size_t kMaxWatchBytes = 700 * 1024;
constexpr std::chrono::seconds kPurgeLimit{5};

// The znodes of ZKDelegationTokenSecretManager (kms-auth.md 4.9).
struct Layout {
  explicit Layout(const std::string& working_path)
      : root(working_path + "/ZKDTSMRoot"),
        sequence(root + "/ZKDTSMSeqNumRoot"),
        key_id(root + "/ZKDTSMKeyIdRoot"),
        keys(root + "/ZKDTSMMasterKeyRoot"),
        tokens(root + "/ZKDTSMTokensRoot") {}
  std::string key(std::int32_t id) const { return keys + "/DK_" + std::to_string(id); }
  std::string token(std::int32_t number) const { return tokens + "/DT_" + std::to_string(number); }
  const std::string root, sequence, key_id, keys, tokens;
};

// Lets one thread at a time do something that takes until a deadline.
class Turn {
 public:
  bool take(Deadline deadline) {
    std::unique_lock lock(mutex_);
    if (!free_.wait_until(lock, deadline, [&] { return !taken_; })) return false;
    taken_ = true;
    return true;
  }
  void give_back() {
    const std::lock_guard lock(mutex_);
    taken_ = false;
    free_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool taken_ = false;
};

class TurnTaken {
 public:
  TurnTaken(Turn& turn, Deadline deadline) : turn_(turn), mine_(turn.take(deadline)) {}
  ~TurnTaken() {
    if (mine_) turn_.give_back();
  }
  TurnTaken(const TurnTaken&) = delete;
  TurnTaken& operator=(const TurnTaken&) = delete;
  bool mine() const { return mine_; }

 private:
  Turn& turn_;
  const bool mine_;
};

class ZooKeeperTokenStore final : public TokenStore {
 public:
  ZooKeeperTokenStore(const ZooKeeperOptions& options, Logger& logger)
      : options_(options), logger_(logger), at_(options.path) {}

  Result<void> attach() override;
  Result<MasterKeyPtr> current_key(std::int64_t now_ms, const KeyPolicy& policy) override;
  Result<MasterKeyPtr> key(std::int32_t id) override;
  Result<std::int32_t> next_sequence() override;
  Result<void> add(TokenRecord token) override;
  Result<TokenPtr> find(const TokenIdentifier& identifier) override;
  Result<bool> renew(const TokenIdentifier& identifier, std::int64_t renew_ms) override;
  Result<bool> remove(const TokenIdentifier& identifier) override;
  Result<std::size_t> purge(std::int64_t now_ms) override;
  Health condition() const noexcept override { return client_ ? client_->condition() : Health(); }

 private:
  struct Found {
    TokenPtr token;  // null: none
    std::int32_t version = 0;
  };
  Result<Found> read_token(const TokenIdentifier& identifier, bool watch, Deadline deadline);
  Result<MasterKeyPtr> read_key(std::int32_t id, Deadline deadline);
  Result<MasterKeyPtr> stored_key(std::int64_t now_ms, std::int64_t life_ms, Deadline deadline);
  // The number in a counter's node, which is made where it is missing.
  struct Count {
    std::int32_t value = 0, version = 0;
  };
  Result<MasterKeyPtr> make_key(const Count& last, std::int64_t expires_ms, Deadline deadline);
  Result<Count> read_count(const std::string& path, Deadline deadline);
  Result<void> make_nodes(Deadline deadline);
  Result<std::size_t> purge_some(const std::vector<std::int32_t>& numbers, std::int64_t now_ms,
                                 Deadline deadline);
  Error corrupt(const std::string& path, const Error& error) const {
    return Error(ErrorKind::unavailable, "ZooKeeper: " + path + ": " + error.message);
  }

  const ZooKeeperOptions options_;
  Logger& logger_;
  const Layout at_;
  std::shared_ptr<Client> client_;
  std::shared_ptr<TokenCache> cache_;

  Turn key_turn_;  // to make a key
  Turn sequence_turn_;
  std::int32_t sequence_ = 0;
  std::int64_t sequences_left_ = 0;
  // When each token known here ends at the earliest, so that a purge need not read it before.
  std::unordered_map<std::int32_t, std::int64_t> renew_dates_;
};

Error busy() {
  return Error(ErrorKind::unavailable, "ZooKeeper: another request waits for the same thing");
}

// "DT_17": 17.
bool number_of(std::string_view name, std::string_view prefix, std::int32_t& out) {
  if (!name.starts_with(prefix) || name.size() > prefix.size() + 11) return false;
  const std::string digits(name.substr(prefix.size()));
  char* end = nullptr;
  const long long value = std::strtoll(digits.c_str(), &end, 10);
  if (digits.empty() || *end != '\0' || value != static_cast<std::int32_t>(value)) return false;
  out = static_cast<std::int32_t>(value);
  return true;
}

Result<void> ZooKeeperTokenStore::attach() {
  client_ = Client::of_process(options_, logger_);
  cache_ = std::make_shared<TokenCache>(kMaxWatchBytes / at_.token(2000000000).size());
  client_->add(cache_);
  client_->start();
  return {};
}

Result<void> ZooKeeperTokenStore::make_nodes(Deadline deadline) {
  const auto make = [&](const std::string& path, ByteView data, Client::Kind kind) -> Result<void> {
    const Reply made = client_->create(path, data, kind, deadline);
    if (!made.ok() && made.code != ZNODEEXISTS) return client_->error("create", path, made);
    return {};
  };
  // Curator makes the parents as containers, which go when nothing is left in them.
  for (std::size_t slash = at_.root.find('/', 1); slash != std::string::npos;
       slash = at_.root.find('/', slash + 1))
    KMS_TRY(make(at_.root.substr(0, slash), {}, Client::Kind::container));
  KMS_TRY(make(at_.root, {}, Client::Kind::persistent));
  const Secret zero = zookeeper::encode_count(0);
  KMS_TRY(make(at_.sequence, zero.view(), Client::Kind::persistent));
  KMS_TRY(make(at_.key_id, zero.view(), Client::Kind::persistent));
  KMS_TRY(make(at_.keys, {}, Client::Kind::persistent));
  return make(at_.tokens, {}, Client::Kind::persistent);
}

Result<ZooKeeperTokenStore::Count> ZooKeeperTokenStore::read_count(const std::string& path,
                                                                   Deadline deadline) {
  Reply reply = client_->get(path, false, deadline);
  if (reply.code == ZNONODE) {
    KMS_TRY(make_nodes(deadline));
    reply = client_->get(path, false, deadline);
  }
  if (!reply.ok()) return client_->error("read", path, reply);
  const auto value = zookeeper::decode_count(reply.data.view());
  if (!value.ok()) return corrupt(path, value.error());
  return Count{*value, reply.version};
}

// --- master keys

Result<MasterKeyPtr> ZooKeeperTokenStore::read_key(std::int32_t id, Deadline deadline) {
  if (MasterKeyPtr known = cache_->key(id); known) return known;
  const std::string path = at_.key(id);
  auto cache = cache_;
  const auto keep = [cache, id](const Reply& reply) {
    if (!reply.ok()) return;
    if (auto key = zookeeper::decode_master_key(reply.data.view()); key.ok() && key->id == id)
      cache->put(std::make_shared<const MasterKey>(std::move(key).value()));
  };
  const Reply reply = client_->get(path, true, deadline, keep);
  if (reply.code == ZNONODE) return MasterKeyPtr();
  if (!reply.ok()) return client_->error("read", path, reply);
  auto key = zookeeper::decode_master_key(reply.data.view());
  if (key.ok() && key->id != id) key = Error(ErrorKind::corrupt, "it holds another key");
  if (!key.ok()) return corrupt(path, key.error());
  return std::make_shared<const MasterKey>(std::move(key).value());
}

Result<MasterKeyPtr> ZooKeeperTokenStore::key(std::int32_t id) {
  return read_key(id, client_->deadline());
}

// The newest with a life of life_ms from now_ms on; those whose life is over are removed.
Result<MasterKeyPtr> ZooKeeperTokenStore::stored_key(std::int64_t now_ms, std::int64_t life_ms,
                                                     Deadline deadline) {
  const Reply names = client_->children(at_.keys, deadline);
  if (names.code == ZNONODE) return MasterKeyPtr();
  if (!names.ok()) return client_->error("list", at_.keys, names);
  MasterKeyPtr newest;
  for (const std::string& name : names.children) {
    std::int32_t id = 0;
    if (!number_of(name, "DK_", id)) continue;
    auto key = read_key(id, deadline);
    if (!key.ok()) {
      logger_.log(LogLevel::warn, "KMS0350", key.error().message);
      continue;
    }
    if (!*key) continue;
    if ((*key)->expires_ms < now_ms) {
      client_->remove(at_.key(id), -1, deadline);
      cache_->drop_key(id);
    } else if ((*key)->expires_ms >= now_ms + life_ms && (!newest || id > newest->id)) {
      newest = *key;
    }
  }
  return newest;
}

// The id and the key in one step, if no id was taken since last: null otherwise, so that who is
// second finds the first one's key instead.
Result<MasterKeyPtr> ZooKeeperTokenStore::make_key(const Count& last, std::int64_t expires_ms,
                                                   Deadline deadline) {
  auto fresh = std::make_shared<MasterKey>();
  fresh->id = static_cast<std::int32_t>(static_cast<std::uint32_t>(last.value) + 1);
  fresh->expires_ms = expires_ms;
  fresh->secret = Secret(kKeyBytes);
  KMS_TRY(fill_private({fresh->secret.data(), fresh->secret.size()}));
  Client::Set set{at_.key_id, zookeeper::encode_count(fresh->id), last.version};
  const Secret bytes = zookeeper::encode_master_key(*fresh);
  const Reply made = client_->set_and_create(set, at_.key(fresh->id), bytes.view(), deadline);
  if (made.ok()) {
    logger_.log(LogLevel::info, "KMS0351",
                "ZooKeeper: new master key for tokens: " + at_.key(fresh->id));
    // Read, so that there is a watch.
    return read_key(fresh->id, deadline);
  }
  if (made.code == ZBADVERSION) return MasterKeyPtr();
  if (made.code == ZNODEEXISTS) {
    // A counter that was set back, by hand or by a lost node. Past that id then.
    const Reply passed =
        client_->set(at_.key_id, zookeeper::encode_count(fresh->id).view(), last.version, deadline);
    if (passed.ok() || passed.code == ZBADVERSION) return MasterKeyPtr();
    return client_->error("write", at_.key_id, passed);
  }
  if (made.code == ZNONODE) {
    KMS_TRY(make_nodes(deadline));
    return MasterKeyPtr();
  }
  return client_->error("create", at_.key(fresh->id), made);
}

Result<MasterKeyPtr> ZooKeeperTokenStore::current_key(std::int64_t now_ms,
                                                      const KeyPolicy& policy) {
  const std::int64_t life = policy.max_lifetime_ms;
  if (MasterKeyPtr known = cache_->newest_key(now_ms + life); known) return known;
  const Deadline deadline = client_->deadline();
  const TurnTaken turn(key_turn_, deadline);
  if (!turn.mine()) return busy();
  // Somebody else may have made one meanwhile, in this process or another.
  while (Steady::now() < deadline) {
    if (MasterKeyPtr known = cache_->newest_key(now_ms + life); known) return known;
    const auto last = read_count(at_.key_id, deadline);
    if (!last.ok()) return last.error();
    auto stored = stored_key(now_ms, life, deadline);
    if (!stored.ok() || *stored) return stored;
    auto made = make_key(*last, now_ms + policy.update_interval_ms + life, deadline);
    if (!made.ok() || *made) return made;
  }
  return Error(ErrorKind::unavailable, "ZooKeeper: no master key could be made in time");
}

// --- tokens

Result<std::int32_t> ZooKeeperTokenStore::next_sequence() {
  const Deadline deadline = client_->deadline();
  const TurnTaken turn(sequence_turn_, deadline);
  if (!turn.mine()) return busy();
  while (sequences_left_ == 0) {
    const auto count = read_count(at_.sequence, deadline);
    if (!count.ok()) return count.error();
    const auto next =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(count->value) +
                                  static_cast<std::uint32_t>(options_.sequence_batch));
    const Reply set =
        client_->set(at_.sequence, zookeeper::encode_count(next).view(), count->version, deadline);
    if (set.ok()) {
      sequence_ = count->value;
      sequences_left_ = options_.sequence_batch;
    } else if (set.code != ZBADVERSION) {
      return client_->error("write", at_.sequence, set);
    } else if (Steady::now() >= deadline) {
      return Error(ErrorKind::unavailable, "ZooKeeper: no token numbers in time");
    }
  }
  --sequences_left_;
  sequence_ = static_cast<std::int32_t>(static_cast<std::uint32_t>(sequence_) + 1);
  return sequence_;
}

Result<void> ZooKeeperTokenStore::add(TokenRecord token) {
  const Deadline deadline = client_->deadline();
  const std::string path = at_.token(token.identifier.sequence);
  const Secret bytes = zookeeper::encode_token(token);
  Reply made = client_->create(path, bytes.view(), Client::Kind::persistent, deadline);
  if (made.code == ZNONODE) {
    KMS_TRY(make_nodes(deadline));
    made = client_->create(path, bytes.view(), Client::Kind::persistent, deadline);
  }
  if (made.code == ZNODEEXISTS && made.repeated) {
    // Mine, whose answer was lost?
    const Reply there = client_->get(path, false, deadline);
    if (there.ok() && there.data.equals(bytes.view())) return {};
  }
  if (!made.ok()) return client_->error("create", path, made);
  return {};
}

Result<ZooKeeperTokenStore::Found> ZooKeeperTokenStore::read_token(
    const TokenIdentifier& identifier, bool watch, Deadline deadline) {
  const std::int32_t number = identifier.sequence;
  const std::string path = at_.token(number);
  Client::OnReply keep;
  if (watch) {
    keep = [cache = cache_, number](const Reply& reply) {
      if (!reply.ok()) return;
      if (auto token = zookeeper::decode_token(reply.data.view());
          token.ok() && token->identifier.sequence == number)
        cache->put(std::make_shared<const TokenRecord>(std::move(token).value()));
    };
  }
  Reply reply = client_->get(path, watch, deadline, keep);
  // One that was just made may not have come to this session's server yet.
  if (reply.code == ZNONODE && identifier.issue_ms > now_ms() - kFreshMs) {
    if (const Reply synced = client_->sync(at_.tokens, deadline); !synced.ok())
      return client_->error("read", path, synced);
    reply = client_->get(path, watch, deadline, keep);
  }
  if (reply.code == ZNONODE) return Found{};
  if (!reply.ok()) return client_->error("read", path, reply);
  auto token = zookeeper::decode_token(reply.data.view());
  if (!token.ok()) return corrupt(path, token.error());
  if (token->identifier != identifier) return Found{};
  return Found{std::make_shared<const TokenRecord>(std::move(token).value()), reply.version};
}

Result<TokenPtr> ZooKeeperTokenStore::find(const TokenIdentifier& identifier) {
  if (options_.watch_tokens) {
    if (TokenPtr known = cache_->token(identifier.sequence); known)
      return known->identifier == identifier ? known : TokenPtr();
  }
  const bool watch = options_.watch_tokens && cache_->has_room();
  auto found = read_token(identifier, watch, client_->deadline());
  if (!found.ok()) return std::move(found).error();
  return std::move(found->token);
}

Result<bool> ZooKeeperTokenStore::renew(const TokenIdentifier& identifier, std::int64_t renew_ms) {
  const Deadline deadline = client_->deadline();
  const std::string path = at_.token(identifier.sequence);
  do {
    auto found = read_token(identifier, false, deadline);
    if (!found.ok()) return std::move(found).error();
    if (!found->token) return false;
    TokenRecord renewed;
    renewed.identifier = identifier;
    renewed.renew_ms = renew_ms;
    renewed.password = found->token->password.clone();
    const Reply set =
        client_->set(path, zookeeper::encode_token(renewed).view(), found->version, deadline);
    cache_->drop_token(identifier.sequence);
    if (set.ok()) return true;
    if (set.code == ZNONODE) return false;
    if (set.code != ZBADVERSION) return client_->error("write", path, set);
    // Renewed elsewhere meanwhile, or by a try of this call; or the server lags behind.
    if (const Reply synced = client_->sync(path, deadline); !synced.ok())
      return client_->error("write", path, synced);
  } while (Steady::now() < deadline);
  return Error(ErrorKind::unavailable, "ZooKeeper: " + path + " changed again and again");
}

Result<bool> ZooKeeperTokenStore::remove(const TokenIdentifier& identifier) {
  const Deadline deadline = client_->deadline();
  const std::string path = at_.token(identifier.sequence);
  auto found = read_token(identifier, false, deadline);
  if (!found.ok()) return std::move(found).error();
  if (!found->token) return false;
  const Reply removed = client_->remove(path, -1, deadline);
  cache_->drop_token(identifier.sequence);
  if (removed.ok()) return true;
  if (removed.code == ZNONODE) return removed.repeated;
  return client_->error("delete", path, removed);
}

Result<std::size_t> ZooKeeperTokenStore::purge(std::int64_t now_ms) {
  const Deadline deadline = Steady::now() + kPurgeLimit;
  const Reply names = client_->children(at_.tokens, deadline);
  if (names.code == ZNONODE) return std::size_t{0};
  if (!names.ok()) return client_->error("list", at_.tokens, names);
  std::unordered_map<std::int32_t, std::int64_t> known;
  std::vector<std::int32_t> due;
  for (const std::string& name : names.children) {
    std::int32_t number = 0;
    if (!number_of(name, "DT_", number)) continue;
    const auto date = renew_dates_.find(number);
    if (date == renew_dates_.end() || date->second < now_ms)
      due.push_back(number);
    else
      known.insert(*date);
  }
  renew_dates_ = std::move(known);
  std::size_t removed = 0;
  for (std::size_t i = 0; i < due.size() && Steady::now() < deadline; i += kAtOnce) {
    const std::size_t end = std::min(due.size(), i + kAtOnce);
    const auto some = purge_some({due.begin() + static_cast<std::ptrdiff_t>(i),
                                  due.begin() + static_cast<std::ptrdiff_t>(end)},
                                 now_ms, deadline);
    if (!some.ok()) return some.error();
    removed += *some;
  }
  return removed;
}

Result<std::size_t> ZooKeeperTokenStore::purge_some(const std::vector<std::int32_t>& numbers,
                                                    std::int64_t now_ms, Deadline deadline) {
  std::vector<std::string> paths;
  for (const std::int32_t number : numbers) paths.push_back(at_.token(number));
  const std::vector<Reply> replies = client_->get_all(paths, deadline);
  std::size_t removed = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (!replies[i].ok()) continue;
    const auto token = zookeeper::decode_token(replies[i].data.view());
    if (!token.ok()) {
      logger_.log(LogLevel::warn, "KMS0352", corrupt(paths[i], token.error()).message);
      continue;
    }
    if (token->renew_ms >= now_ms) {
      renew_dates_[numbers[i]] = token->renew_ms;
      continue;
    }
    // Of that version: one that is renewed at this moment stays.
    const Reply gone = client_->remove(paths[i], replies[i].version, deadline);
    cache_->drop_token(numbers[i]);
    if (gone.ok())
      ++removed;
    else if (gone.code != ZNONODE && gone.code != ZBADVERSION)
      return client_->error("delete", paths[i], gone);
  }
  return removed;
}

}  // namespace

Result<std::unique_ptr<TokenStore>> make_zookeeper_token_store(const ZooKeeperOptions& options,
                                                               Logger& logger) {
  KMS_TRY(zookeeper::check_options(options, kNames));
  if (options.sequence_batch < 1)
    return Error(ErrorKind::configuration, kPrefix + "token.seqnum.batch.size must be more than 0");
  return std::unique_ptr<TokenStore>(std::make_unique<ZooKeeperTokenStore>(options, logger));
}

}  // namespace kms
