// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/pool.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/clock.h"
#include "crypto/random.h"

namespace kms::postgres {
namespace {

constexpr int kRestAfterFailureMs = 250;  // so that not every request tries a server that is away
constexpr int kLongestNapMs = 200;
constexpr int kMostTries = 5;  // of a host that accepts connections and loses them

// Waits before the next attempt, longer each time and never the same as the other side. False when
// the deadline would pass.
class Backoff {
 public:
  explicit Backoff(Deadline deadline) : deadline_(deadline) {}
  bool nap() {
    std::uint8_t random = 0;
    (void)fill_public({&random, 1});
    const int ms = limit_ms_ / 2 + limit_ms_ * random / 512;
    limit_ms_ = std::min(limit_ms_ * 2, kLongestNapMs);
    if (steady_ms() + ms >= deadline_) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    return true;
  }

 private:
  const Deadline deadline_;
  int limit_ms_ = 4;
};

bool may_pass(Fault fault) {
  return fault == Fault::conflict || fault == Fault::lost;
}

Error not_known(const Error& last) {
  return Error(ErrorKind::unavailable,
               "It is not known whether the change was carried out. " + last.message);
}

}  // namespace

// A connection that goes back, unless it is broken.
class Pool::Lease {
 public:
  Lease(Pool& pool, std::unique_ptr<Connection> connection)
      : pool_(pool), connection_(std::move(connection)) {}
  ~Lease() { pool_.give(std::move(connection_)); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Connection& operator*() { return *connection_; }
  Connection* operator->() { return connection_.get(); }

 private:
  Pool& pool_;
  std::unique_ptr<Connection> connection_;
};

Result<std::unique_ptr<Connection>> Pool::take(Deadline deadline) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto left = std::chrono::milliseconds(std::max<std::int64_t>(0, deadline - steady_ms()));
    const bool ready = returned_.wait_for(
        lock, left, [this] { return closed_ || !idle_.empty() || open_ < most_; });
    if (closed_) return Error(ErrorKind::unavailable, "The server is ending");
    if (!ready) return Error(ErrorKind::unavailable, "All connections to the database are in use");
    if (!idle_.empty()) {
      auto connection = std::move(idle_.back());
      idle_.pop_back();
      connection->set_deadline(deadline);
      return connection;
    }
    if (steady_ms() < not_before_ms_) return Error(ErrorKind::unavailable, last_failure_);
    ++open_;
    const std::uint64_t servers = servers_;
    lock.unlock();
    auto opened = open(deadline);
    lock.lock();
    if (opened.ok()) return opened;
    --open_;
    returned_.notify_one();
    if (servers != servers_) continue;  // it failed before that one was there
    last_failure_ = opened.error().message;
    not_before_ms_ = steady_ms() + kRestAfterFailureMs;
    return opened;
  }
}

void Pool::server_found() noexcept {
  const std::lock_guard hold(mutex_);
  ++servers_;
  not_before_ms_ = 0;
}

// One host after the other, from the one that worked last. Each gets its share of the time, so
// that one that drops packets does not use it up.
Result<std::unique_ptr<Connection>> Pool::open(Deadline deadline) {
  std::size_t first = 0;
  {
    const std::lock_guard hold(mutex_);
    first = host_;
  }
  const std::vector<Host>& hosts = options_.where.hosts;
  std::string why;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const std::size_t at = (first + i) % hosts.size();
    const std::int64_t now = steady_ms();
    const Deadline mine = now + (deadline - now) / static_cast<std::int64_t>(hosts.size() - i);
    auto opened = Connection::open(options_, hosts[at], mine);
    // A server that ends sessions may do so before the first statement is through.
    for (int tries = 1; opened.ok(); ++tries) {
      (*opened)->set_deadline(deadline);
      auto good = fresh_(**opened);
      if (!good.ok() && (tries == kMostTries || (*opened)->fault() != Fault::lost))
        return std::move(good).error();
      if (!good.ok()) {
        opened = Connection::open(options_, hosts[at], mine);
        continue;
      }
      const std::lock_guard hold(mutex_);
      host_ = at;
      return opened;
    }
    why += (why.empty() ? "" : "; ") + hosts[at].name + ":" + hosts[at].port + ": " +
           opened.error().message;
  }
  return Error(ErrorKind::unavailable, why);
}

void Pool::give(std::unique_ptr<Connection> connection) noexcept {
  const std::lock_guard hold(mutex_);
  if (!closed_ && connection->usable()) {
    idle_.push_back(std::move(connection));
  } else {
    // The others are likely of the same server.
    if (connection->fault() == Fault::lost) {
      open_ -= idle_.size();
      idle_.clear();
    }
    --open_;
  }
  returned_.notify_one();
}

void Pool::close() noexcept {
  const std::lock_guard hold(mutex_);
  closed_ = true;
  open_ -= idle_.size();
  idle_.clear();
  returned_.notify_all();
}

Result<void> Pool::read(Deadline deadline, const Work& work) {
  Backoff backoff(deadline);
  for (;;) {
    auto taken = take(deadline);
    if (!taken.ok()) return std::move(taken).error();
    Lease connection(*this, std::move(*taken));
    auto done = work(*connection);
    if (done.ok() || !may_pass(connection->fault()) || !backoff.nap()) return done;
  }
}

Result<void> Pool::transaction(Deadline deadline, const Work& work, const Outcome& outcome) {
  Backoff backoff(deadline);
  for (;;) {
    auto taken = take(deadline);
    if (!taken.ok()) return std::move(taken).error();
    Result<void> done;
    Fault fault = Fault::none;
    bool in_doubt = false;
    {
      Lease connection(*this, std::move(*taken));
      done = [&]() -> Result<void> {
        if (auto begun = connection->run("BEGIN"); !begun.ok()) return std::move(begun).error();
        KMS_TRY(work(*connection));
        in_doubt = true;
        return connection->commit();
      }();
      if (done.ok()) return done;
      fault = connection->fault();
      in_doubt = in_doubt && fault == Fault::lost;
      // Without this the connection is in a transaction, and so it would be closed.
      if (fault != Fault::lost) (void)connection->run("ROLLBACK");
    }
    if (in_doubt) {
      bool carried_out = false;
      auto known = find_out(deadline, outcome, carried_out);
      if (!known.ok()) return not_known(known.error());
      if (carried_out) return {};
    }
    if (!may_pass(fault) || !backoff.nap()) return done;
  }
}

Result<void> Pool::find_out(Deadline deadline, const Outcome& outcome, bool& carried_out) {
  Backoff backoff(deadline);
  for (;;) {
    Result<void> done;
    if (auto taken = take(deadline); !taken.ok()) {
      done = std::move(taken).error();
    } else {
      Lease connection(*this, std::move(*taken));
      done = [&]() -> Result<void> {
        if (auto begun = connection->run("BEGIN"); !begun.ok()) return std::move(begun).error();
        auto answer = outcome(*connection);
        if (!answer.ok()) return std::move(answer).error();
        carried_out = *answer;
        return connection->commit();
      }();
    }
    if (done.ok() || !backoff.nap()) return done;
  }
}

}  // namespace kms::postgres
