// SPDX-License-Identifier: Apache-2.0
// What is in memory, for how long it may be answered with, and how changes by others are noticed.
#include <chrono>
#include <exception>

#include "core/blocked_signals.h"
#include "core/clock.h"
#include "keystore/postgres/change_log.h"
#include "keystore/postgres/record_table.h"
#include "keystore/postgres/store.h"

namespace kms::postgres {
namespace {

constexpr std::int64_t kFreshMs = 1000;  // from the begin of a look: a change shows within this
constexpr std::int64_t kLookMs = 900;    // longest look while requests may wait for it

}  // namespace

TrusteeStore::TrusteeStore(StoreAccess access, Logger& logger,
                           std::unique_ptr<SharedChanges> shared, bool check_only)
    : access_(std::move(access)),
      logger_(logger),
      check_only_(check_only),
      shared_(std::move(shared)),
      pool_(access_.server, static_cast<std::size_t>(access_.options.connections),
            [this](Connection& fresh) { return prepare(fresh); }),
      watch_(access_.server, 1,
             [this](Connection& fresh) -> Result<void> {
               KMS_TRY(prepare(fresh));
               return know_server(fresh);
             }),
      records_(std::make_unique<RecordTable>(*this)) {}

TrusteeStore::~TrusteeStore() {
  detach();
}

Records* TrusteeStore::records() noexcept {
  return records_.get();
}

Deadline TrusteeStore::deadline() const {
  return steady_ms() + access_.options.timeout_ms;
}

// A transaction of ours that hangs must not block the others for long.
Result<void> TrusteeStore::prepare(Connection& connection) {
  auto set = connection.run(
      "SELECT set_config('lock_timeout', $1, false),"
      " set_config('idle_in_transaction_session_timeout', $2, false), version()",
      Params().number(access_.options.timeout_ms).number(2 * access_.options.timeout_ms));
  if (!set.ok()) return std::move(set).error();
  replicates_ = set->text(0, 2).find("-YB-") != std::string::npos;
  KMS_TRY(check_schema(connection));
  // Who only looks does not attach, and does not fork any more once it reads.
  if (seal::Hsm* hsm = access_.seal->hsm(); check_only_ && hsm != nullptr) hsm->start(logger_);
  return vault() != nullptr ? Result<void>() : open_vault(connection);
}

// Another server took over without what was seen on the one that is gone: a primary shows what its
// standby does not have when the wait for that is cut short, and the counters of the other one go
// past it unnoticed. A new connection to the same server leaves memory alone, which may be all
// there is soon. One that does not say since when it runs counts as another each time.
Result<void> TrusteeStore::know_server(Connection& connection) {
  auto since = connection.run("SELECT pg_postmaster_start_time()");
  if (!since.ok() && connection.fault() == Fault::lost) return std::move(since).error();
  const std::string server = since.ok() ? since->text(0, 0) : std::string();
  if (server.empty() || server != server_) {
    pool_.server_found();  // memory will be empty: who reads must not be told of the one before
    seen_.clear();
  }
  server_ = server;
  return {};
}

Result<void> TrusteeStore::attach() {
  if (check_only_) return {};
  if (seal::Hsm* hsm = access_.seal->hsm(); hsm != nullptr) hsm->start(logger_);
  {
    std::unique_lock looking(look_mutex_);
    (void)look(looking);  // says itself what it finds
  }
  const BlockedSignals blocked;
  thread_ = std::thread([this] { run(); });
  return {};
}

void TrusteeStore::detach() noexcept {
  {
    const std::lock_guard hold(thread_mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  pool_.close();
  watch_.close();
  if (seal::Hsm* hsm = access_.seal->hsm(); hsm != nullptr) hsm->stop();
}

void TrusteeStore::run() noexcept {
  const auto pause = std::chrono::milliseconds(access_.options.poll_ms);
  std::unique_lock lock(thread_mutex_);
  while (!wake_.wait_for(lock, pause, [this] { return stopping_; })) {
    lock.unlock();
    try {
      std::unique_lock looking(look_mutex_);
      (void)look(looking);
    } catch (const std::exception& e) {
      log(LogLevel::error, "KMS0133", e.what());
    }
    lock.lock();
  }
}

// The hot path: what this thread has in memory may be answered with.
bool TrusteeStore::current() const {
  return shared_->count() == absorbed_.load(std::memory_order_acquire) &&
         steady_ms() < serve_until_.load(std::memory_order_acquire);
}

bool TrusteeStore::may_be_stale() const noexcept {
  const std::int64_t looked = last_look_.load(std::memory_order_acquire);
  return looked != 0 && access_.options.stale_reads_ms > 0 &&
         steady_ms() < looked + kFreshMs + access_.options.stale_reads_ms;
}

// Before an answer that the thread's own memory does not give. While the database is away nobody
// waits for it here: the thread of the store tries.
Result<void> TrusteeStore::sync() {
  absorb();
  if (!check_only_) KMS_TRY(seal_in_reach());  // who only looks connects with the first row
  const auto fresh = [this] { return steady_ms() < serve_until_.load(std::memory_order_acquire); };
  if (fresh()) return {};
  if (away_.load(std::memory_order_acquire) && may_be_stale()) return {};
  std::unique_lock looking(look_mutex_, std::defer_lock);
  if (away_.load(std::memory_order_acquire) && !check_only_) {
    if (!looking.try_lock()) return away("");
    return away(why_away_);
  }
  looking.lock();
  if (fresh()) return {};
  if (auto looked = look(looking); looked.ok() || may_be_stale()) return {};
  return away(why_away_);
}

Error TrusteeStore::away(const std::string& why) const {
  return Error(ErrorKind::unavailable,
               "The key store " + access_.uri +
                   " is out of reach, and what is in memory may be out of date" +
                   (why.empty() ? "" : ": " + why));
}

// Changes by the other processes of this server, which have told us.
void TrusteeStore::absorb() {
  if (shared_->count() == absorbed_.load(std::memory_order_acquire)) return;
  const std::lock_guard hold(absorb_mutex_);
  const std::uint64_t now = shared_->count();
  std::uint64_t at = absorbed_.load(std::memory_order_relaxed);
  while (at != now) {
    const auto hash = shared_->change(++at);
    if (hash.has_value()) {
      drop(*hash);
    } else {
      drop_all();
      at = now;
    }
  }
  absorbed_.store(now, std::memory_order_release);
}

void TrusteeStore::drop(std::uint64_t hash) {
  if ((hash & kRecordBit) != 0)
    records_->cache().drop(hash);
  else
    cache_.drop(hash);
}

void TrusteeStore::drop_all() {
  cache_.drop_all();
  records_->cache().drop_all();
}

Result<void> TrusteeStore::look(std::unique_lock<std::mutex>&) {
  const std::int64_t begin = steady_ms();
  if (hsm_serves()) hsm_seen_.store(begin, std::memory_order_release);
  const bool was_away = away_.load(std::memory_order_acquire);
  const bool nobody_waits = was_away || last_look_.load() == 0;
  const Deadline until = begin + (nobody_waits ? access_.options.timeout_ms : kLookMs);
  auto done = watch_.read(until, [&](Connection& c) { return look_for_changes(c); });
  if (!done.ok()) {
    why_away_ = done.error().message;
    away_.store(true, std::memory_order_release);
    health_.set(HealthState::degraded, "the database of the keys is out of reach");
    if (!was_away)
      log(LogLevel::error, "KMS0131",
          "the database is out of reach; changes are refused, keys are " +
              (access_.options.stale_reads_ms > 0
                   ? "served from memory for " +
                         std::to_string(access_.options.stale_reads_ms / 1000) + " s"
                   : std::string("refused as well")) +
              ": " + why_away_);
    return done;
  }
  last_look_.store(begin, std::memory_order_release);
  if (seal_in_reach().ok()) serve_until_.store(begin + kFreshMs, std::memory_order_release);
  away_.store(false, std::memory_order_release);
  health_.good();
  if (was_away) log(LogLevel::notice, "KMS0132", "the database is back");
  return done;
}

Result<void> TrusteeStore::look_for_changes(Connection& connection) {
  if (seen_.empty()) {
    auto counters = read_counters(connection);
    if (!counters.ok()) return std::move(counters).error();
    // What was known of the sealing keys before may be older than these counters.
    KMS_TRY(open_vault(connection));
    seen_ = std::move(*counters);
    drop_all();
    return {};
  }
  auto changes = changes_since(connection, seen_);
  if (!changes.ok()) return std::move(changes).error();
  bool seals = !changes->complete;  // the sealing keys are to be looked at anew
  for (const std::string& name : changes->names) {
    seals = seals || name == kSealChange;
    drop(name_hash(name));
  }
  if (!changes->complete) drop_all();
  // Before the counters move on: a look that fails here is one that comes again.
  if (seals) KMS_TRY(open_vault(connection));
  seen_ = std::move(changes->counters);
  return {};
}

}  // namespace kms::postgres
