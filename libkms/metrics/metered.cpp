// SPDX-License-Identifier: Apache-2.0
#include "metrics/metered.h"

#include <chrono>
#include <type_traits>
#include <utility>

namespace kms {
namespace {

class Stopwatch {
 public:
  std::uint64_t us() const {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start_).count());
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

class MeteredTokenStore final : public TokenStore {
 public:
  MeteredTokenStore(std::unique_ptr<TokenStore> inner, Metrics& metrics)
      : inner_(std::move(inner)), metrics_(metrics) {}

  Result<void> attach() override { return inner_->attach(); }
  void poll() noexcept override { inner_->poll(); }
  Health condition() const noexcept override { return inner_->condition(); }
  Result<MasterKeyPtr> current_key(std::int64_t now_ms, const KeyPolicy& policy) override {
    return inner_->current_key(now_ms, policy);
  }
  Result<MasterKeyPtr> key(std::int32_t id) override { return inner_->key(id); }
  Result<std::int32_t> next_sequence() override { return inner_->next_sequence(); }
  Result<void> add(TokenRecord token) override {
    return counted(TokenChange::store, [&] { return inner_->add(std::move(token)); });
  }
  Result<TokenPtr> find(const TokenIdentifier& identifier) override {
    return inner_->find(identifier);
  }
  Result<bool> renew(const TokenIdentifier& identifier, std::int64_t renew_ms) override {
    return counted(TokenChange::update, [&] { return inner_->renew(identifier, renew_ms); });
  }
  Result<bool> remove(const TokenIdentifier& identifier) override {
    return counted(TokenChange::remove, [&] { return inner_->remove(identifier); });
  }
  Result<std::size_t> purge(std::int64_t now_ms) override { return inner_->purge(now_ms); }

 private:
  // As Hadoop: a failure has no time.
  template <class F>
  std::invoke_result_t<F> counted(TokenChange change, F&& call) {
    const Stopwatch watch;
    auto result = call();
    if (result.ok()) {
      metrics_.count(cells::kTokenChanges + cells::at(change));
      metrics_.count(cells::kTokenUs + cells::at(change), watch.us());
    } else {
      metrics_.count(cells::kTokenFailures);
    }
    return result;
  }

  std::unique_ptr<TokenStore> inner_;
  Metrics& metrics_;
};

// Cells of the events that log ids stand for, by the digits of the id.
struct Event {
  std::string_view digits;
  std::size_t cell;
};
constexpr Event kEvents[] = {
    {"0106", cells::kKeystoreReads}, {"0202", cells::kAclLoads},    {"0204", cells::kAclFailures},
    {"0205", cells::kAclFailures},   {"0206", cells::kAclFailures},
};

}  // namespace

std::unique_ptr<TokenStore> metered(std::unique_ptr<TokenStore> store, Metrics& metrics) {
  return std::make_unique<MeteredTokenStore>(std::move(store), metrics);
}

GroupLookup metered(GroupLookup lookup, Metrics& metrics) {
  return [inner = std::move(lookup), &metrics](const std::string& user) {
    const Stopwatch watch;
    auto groups = inner(user);
    metrics.count(cells::kGroupLookups);
    metrics.count(cells::kGroupUs, watch.us());
    if (!groups.ok()) metrics.count(cells::kGroupFailures);
    return groups;
  };
}

void MeteredLogger::log(LogLevel level, std::string_view id, std::string_view text) noexcept {
  metrics_.count(cells::kLogLines + cells::at(level));
  for (const Event& event : kEvents)
    if (id.ends_with(event.digits)) metrics_.count(event.cell);
  inner_.log(level, id, text);
}

}  // namespace kms
