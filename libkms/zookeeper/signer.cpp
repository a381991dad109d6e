// SPDX-License-Identifier: Apache-2.0
#include "zookeeper/signer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "auth/rolling_secrets.h"
#include "core/clock.h"
#include "core/thread_cached.h"
#include "crypto/random.h"
#include "zookeeper/client.h"
#include "zookeeper/codec.h"

namespace kms {
namespace {

using std::chrono::milliseconds;
using zookeeper::Client;
using zookeeper::Deadline;
using zookeeper::Reply;
using Steady = std::chrono::steady_clock;

const std::string kPrefix = "hadoop.kms.authentication.signer.secret.provider.zookeeper.";
const zookeeper::PropertyNames kNames = {kPrefix + "auth.type", kPrefix + "ssl.enabled",
                                         kPrefix + "ssl.keystore.location",
                                         kPrefix + "ssl.truststore.location"};
constexpr std::size_t kSecretBytes = 32;
constexpr milliseconds kReadLimit{3000};
constexpr milliseconds kAttachLimit{3000};
constexpr milliseconds kRetry{500};
constexpr std::int64_t kPushWindowMs = 10000;
constexpr std::int64_t kReadAgainMs = 60000;

// The znode as last read or written.
struct Secrets : RollingSecrets {
  std::int32_t version = 0;  // of the znode
};

// Follows the znode, in the client's threads.
class Follower final : public zookeeper::Observer {
 public:
  Follower(std::string path, std::int64_t period_ms, Client& client, Logger& logger)
      : path_(std::move(path)),
        period_ms_(period_ms),
        grace_ms_(RollingSecrets::grace(period_ms)),
        client_(client),
        logger_(logger) {}

  const Secrets* newest() {
    const std::uint64_t generation = generation_.load(std::memory_order_acquire);
    if (generation == 0) return nullptr;
    if (const Secrets* mine = cached_.get(generation); mine != nullptr) return mine;
    const std::lock_guard lock(mutex_);
    return cached_.put(generation_.load(std::memory_order_relaxed), latest_);
  }
  bool await_first(Deadline deadline) {
    std::unique_lock lock(mutex_);
    return first_.wait_until(lock, deadline, [&] { return latest_ != nullptr; });
  }
  bool has_secrets() const noexcept { return generation_.load(std::memory_order_acquire) != 0; }
  std::int64_t period() const noexcept { return period_ms_; }
  std::int64_t grace() const noexcept { return grace_ms_; }

  void changed(std::string_view path) noexcept override {
    if (path != path_) return;
    stale_.store(true);
    client_.wake();
  }
  void session_lost() noexcept override { stale_.store(true); }
  Deadline work() noexcept override;

 private:
  bool read();
  bool create();
  bool push(const Secrets& seen, std::int64_t now);
  bool refuse(const Reply& reply, const char* what);
  void adopt(zookeeper::SignerSecretsData data, std::int32_t version, std::int64_t modified_ms);
  std::shared_ptr<const Secrets> latest() {
    const std::lock_guard lock(mutex_);
    return latest_;
  }

  const std::string path_;
  const std::int64_t period_ms_, grace_ms_;
  Client& client_;
  Logger& logger_;
  std::atomic<bool> stale_{true};
  std::int64_t next_read_ms_ = 0;  // of the client's own thread, as is the next
  std::int64_t pushed_for_ms_ = 0;
  std::string told_;  // the last complaint, so that it is not repeated

  std::mutex mutex_;
  std::condition_variable first_;
  std::shared_ptr<const Secrets> latest_;
  std::atomic<std::uint64_t> generation_{0};
  ThreadCached<Secrets> cached_;
};

Deadline Follower::work() noexcept {
  const std::int64_t now = now_ms();
  auto seen = latest();
  if (!seen || now >= next_read_ms_) stale_.store(true);
  if (stale_.exchange(false)) {
    if (!read()) {
      stale_.store(true);
      return Steady::now() + kRetry;
    }
    next_read_ms_ = now + std::min(kReadAgainMs, std::max<std::int64_t>(period_ms_ / 4, 1000));
    seen = latest();
  }
  // As in Java each node rolls at the same time, and who comes second finds that it was done. What
  // could not be written then is left for the next time: a node that has gone on with the secret
  // called next would not learn of another one in between.
  const std::int64_t current = now_ms();
  std::int64_t when = seen->due_ms;
  if (current >= seen->due_ms) {
    const std::int64_t missed = (current - seen->due_ms) / period_ms_;
    when = seen->due_ms + missed * period_ms_;
    const bool in_time = current < when + std::min(kPushWindowMs, period_ms_ / 4);
    if (in_time && pushed_for_ms_ != when) {
      if (!push(*seen, current)) return Steady::now() + kRetry;
      pushed_for_ms_ = when;
      return Steady::now();
    }
    when += period_ms_;
  }
  return Steady::now() +
         milliseconds(std::max<std::int64_t>(std::min(when, next_read_ms_) - current, 1));
}

bool Follower::refuse(const Reply& reply, const char* what) {
  const std::string text = client_.error(what, path_, reply).message;
  if (text != told_) logger_.log(LogLevel::warn, "KMS0340", "cookie secrets: " + text);
  told_ = text;
  return false;
}

bool Follower::read() {
  const Reply reply = client_.get(path_, true, Steady::now() + kReadLimit);
  if (reply.code == ZNONODE) return create();
  if (!reply.ok()) return refuse(reply, "read");
  auto data = zookeeper::decode_signer(reply.data.view());
  if (!data.ok()) {
    const std::string text = "ZooKeeper: " + path_ + ": " + data.error().message;
    if (text != told_) logger_.log(LogLevel::error, "KMS0341", "cookie secrets: " + text);
    told_ = text;
    return false;
  }
  told_.clear();
  adopt(std::move(data).value(), reply.version, reply.modified_ms);
  return true;
}

// Everyone tries; one succeeds, and all go on from what it wrote. The watch comes with the reading.
bool Follower::create() {
  zookeeper::SignerSecretsData fresh;
  if (const auto seen = latest(); seen) {
    // Somebody deleted the node: cookies in use stay valid.
    fresh.next = seen->next.clone();
    fresh.current = seen->current.clone();
    fresh.previous = seen->previous.clone();
    fresh.rollover_ms = seen->due_ms;
  } else {
    fresh.next = Secret(kSecretBytes);
    fresh.current = Secret(kSecretBytes);
    for (Secret* secret : {&fresh.next, &fresh.current})
      if (!fill_private({secret->data(), secret->size()}).ok()) return false;
    fresh.rollover_ms = now_ms() + period_ms_;
  }
  const Deadline deadline = Steady::now() + kReadLimit;
  for (std::size_t slash = path_.find('/', 1); slash != std::string::npos;
       slash = path_.find('/', slash + 1)) {
    const Reply parent =
        client_.create(path_.substr(0, slash), {}, Client::Kind::persistent, deadline);
    if (!parent.ok() && parent.code != ZNODEEXISTS) return refuse(parent, "create the parents of");
  }
  const Reply made = client_.create(path_, zookeeper::encode_signer(fresh).view(),
                                    Client::Kind::persistent, deadline);
  if (made.ok())
    logger_.log(LogLevel::info, "KMS0342", "ZooKeeper: new cookie secrets in " + path_);
  else if (made.code != ZNODEEXISTS)
    return refuse(made, "create");
  const Reply reply = client_.get(path_, true, deadline);
  if (!reply.ok()) return refuse(reply, "read");
  auto data = zookeeper::decode_signer(reply.data.view());
  if (!data.ok()) return false;
  adopt(std::move(data).value(), reply.version, reply.modified_ms);
  return true;
}

bool Follower::push(const Secrets& seen, std::int64_t now) {
  zookeeper::SignerSecretsData rolled;
  rolled.next = Secret(kSecretBytes);
  if (!fill_private({rolled.next.data(), rolled.next.size()}).ok()) return false;
  const std::int64_t missed = (now - seen.due_ms) / period_ms_;
  rolled.current = seen.next.clone();
  rolled.previous = (missed > 0 ? seen.next : seen.current).clone();
  rolled.rollover_ms = seen.due_ms + (missed + 1) * period_ms_;
  const Reply reply = client_.set(path_, zookeeper::encode_signer(rolled).view(), seen.version,
                                  Steady::now() + kReadLimit);
  if (reply.code == ZBADVERSION || reply.code == ZNONODE) return read();
  if (!reply.ok()) return refuse(reply, "write");
  logger_.log(LogLevel::debug, "KMS0343", "ZooKeeper: rolled the cookie secrets in " + path_);
  // With a watch again: the one that was set fired for this change.
  return read();
}

void Follower::adopt(zookeeper::SignerSecretsData data, std::int32_t version,
                     std::int64_t modified_ms) {
  const std::int64_t now = now_ms();
  const std::lock_guard lock(mutex_);
  if (latest_ && latest_->version == version && latest_->next.equals(data.next.view())) return;
  auto fresh = std::make_shared<Secrets>();
  // The date in the node may be long over: Java nodes keep to its phase, without correcting it. The
  // node was just rolled when it was just written, whatever the clocks say.
  modified_ms = std::min(modified_ms, now);
  const std::int64_t after = std::max(now, modified_ms + period_ms_ / 2);
  fresh->due_ms = data.rollover_ms;
  if (fresh->due_ms <= after)
    fresh->due_ms += ((after - fresh->due_ms) / period_ms_ + 1) * period_ms_;
  fresh->rolled_ms = modified_ms;
  if (latest_)
    fresh->rolled_ms = latest_->current.equals(data.current.view()) ? latest_->rolled_ms : now;
  fresh->next = std::move(data.next);
  fresh->current = std::move(data.current);
  fresh->previous = std::move(data.previous);
  fresh->version = version;
  latest_ = std::move(fresh);
  generation_.fetch_add(1, std::memory_order_release);
  first_.notify_all();
}

class ZooKeeperSigner final : public SignerSecrets {
 public:
  ZooKeeperSigner(const ZooKeeperOptions& options, std::int64_t period_ms, Logger& logger)
      : options_(options), period_ms_(period_ms), logger_(logger) {}

  Result<void> attach() override {
    client_ = Client::of_process(options_, logger_);
    follower_ = std::make_shared<Follower>(options_.path, period_ms_, *client_, logger_);
    client_->add(follower_);
    client_->start();
    // A child that begins without secrets would refuse good cookies for a moment.
    const auto limit = std::min(kAttachLimit, milliseconds(options_.connection_timeout_ms));
    follower_->await_first(Steady::now() + limit);
    return {};
  }

  Result<std::array<std::uint8_t, 32>> sign(std::string_view text) override {
    const Secrets* secrets = follower_ ? follower_->newest() : nullptr;
    if (secrets == nullptr)
      return Error(ErrorKind::unavailable, "The cookie secrets in ZooKeeper are out of reach");
    return hmac_sha256(secrets->signing(now_ms(), follower_->grace()).view(), as_bytes(text));
  }

  Health condition() const noexcept override {
    static constexpr const char* kNone =
        "there are no cookie secrets: ZooKeeper was not reached since the start";
    if (client_ == nullptr) return {};
    const Health connection = client_->condition();
    if (!follower_->has_secrets()) return {HealthState::failing, connection.since_ms, kNone};
    return connection;
  }

  bool verify(std::string_view text, std::string_view base64) override {
    const Secrets* secrets = follower_ ? follower_->newest() : nullptr;
    return secrets != nullptr && secrets->matches(now_ms(), follower_->period(), text, base64);
  }

 private:
  const ZooKeeperOptions options_;
  const std::int64_t period_ms_;
  Logger& logger_;
  std::shared_ptr<Client> client_;
  std::shared_ptr<Follower> follower_;
};

}  // namespace

Result<std::unique_ptr<SignerSecrets>> make_zookeeper_signer(const ZooKeeperOptions& options,
                                                             std::int64_t rollover_ms,
                                                             Logger& logger) {
  KMS_TRY(zookeeper::check_options(options, kNames));
  if (rollover_ms <= 0)
    return Error(ErrorKind::configuration,
                 "hadoop.kms.authentication.token.validity must be more than 0");
  return std::unique_ptr<SignerSecrets>(
      std::make_unique<ZooKeeperSigner>(options, rollover_ms, logger));
}

}  // namespace kms
