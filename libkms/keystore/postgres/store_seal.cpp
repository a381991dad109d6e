// SPDX-License-Identifier: Apache-2.0
// The sealing keys of a process: which there are, and for how long memory serves without them.
#include "core/clock.h"
#include "keystore/postgres/store.h"

namespace kms::postgres {
namespace {

constexpr std::int64_t kFreshMs = 1000;  // as long as the look for changes of others
constexpr std::int64_t kReadEveryMs = 1000;

}  // namespace

std::shared_ptr<const Vault> TrusteeStore::vault() {
  const std::lock_guard hold(vault_mutex_);
  return vault_;
}

// The keys of before go on where those of now cannot be opened: a change of the record must not
// take down what serves.
Result<void> TrusteeStore::open_vault(Connection& connection) {
  auto records = read_seal_records(connection);
  if (!records.ok()) return std::move(records).error();
  const std::lock_guard hold(vault_mutex_);
  seals_read_ms_ = steady_ms();
  auto keys = access_.seal->open(*records);
  if (!keys.ok() && vault_ == nullptr) return std::move(keys).error();
  const std::string wrong = keys.ok() ? std::string() : keys.error().message;
  if (wrong != seals_said_ && !wrong.empty()) log(LogLevel::error, "KMS0135", wrong);
  seals_said_ = wrong;
  if (keys.ok()) vault_ = std::make_shared<const Vault>(std::move(*keys));
  return {};
}

void TrusteeStore::know_seals(Connection& connection, const Rows& rows,
                              std::initializer_list<int> columns) {
  const auto known = vault();
  bool all = known != nullptr;
  for (int i = 0; i < rows.size() && all; ++i)
    for (const int column : columns)
      all = all && (rows.is_null(i, column) || known->has(rows.text(i, column)));
  if (all) return;
  {
    const std::lock_guard hold(vault_mutex_);
    if (steady_ms() < seals_read_ms_ + kReadEveryMs) return;
  }
  (void)open_vault(connection);  // the rows will say what is missing
}

bool TrusteeStore::hsm_serves() const noexcept {
  const seal::Hsm* hsm = access_.seal->hsm();
  return hsm == nullptr || hsm->ready();
}

// Without the token memory serves as long as without the database: who takes the HSM away takes
// the keys away.
Result<void> TrusteeStore::seal_in_reach() const {
  if (hsm_serves()) return {};
  const std::int64_t seen = hsm_seen_.load(std::memory_order_acquire);
  const std::int64_t stale = access_.options.stale_reads_ms;
  if (seen != 0 && stale > 0 && steady_ms() < seen + kFreshMs + stale) return {};
  Error error(ErrorKind::unavailable,
              "The HSM with the sealing key of " + access_.uri +
                  " is out of reach, and for too long to serve keys from memory");
  error.retry_after_s = 2;
  return error;
}

Health TrusteeStore::condition() const noexcept {
  Health now = health_.read();
  if (now.state != HealthState::good) {
    if (!may_be_stale()) now.state = HealthState::failing;
    return now;
  }
  const seal::Hsm* hsm = access_.seal->hsm();
  if (hsm == nullptr) return now;
  const Health token = hsm->condition();
  if (token.state == HealthState::good) return now;
  const bool serves = hsm->ready() || seal_in_reach().ok();
  return {serves ? HealthState::degraded : HealthState::failing, token.since_ms, token.text};
}

}  // namespace kms::postgres
