// SPDX-License-Identifier: Apache-2.0
// A new view of the token, for objects that the one at hand does not have: who waits for it, when
// it may be had, and what is believed of it.
#include <algorithm>
#include <utility>

#include "core/clock.h"
#include "pkcs11/token_core.h"

namespace kms::pkcs11 {
namespace {

// From one new view to the next. Twice as long after each that did not help, so that keys which are
// really lost, by a restore for one, disturb less and less.
constexpr std::int64_t kPauseMs = 1000, kLongestPauseMs = 30'000;
// Who would have to wait longer for the next one is told so at once.
constexpr std::int64_t kLongestParkMs = 2000;
// For calls that run to come back, unless one is out for long already: not now.
constexpr std::int64_t kDrainMs = 1000, kLongMs = 500;

std::int64_t shortest_pause(const TokenOptions& options) {
  return std::min(kPauseMs, options.timeout_ms / 2);
}

}  // namespace

std::chrono::milliseconds Token::Core::until_renewal() const {
  const std::int64_t due =
      renewed_ms_ + std::max(renew_pause_ms_, shortest_pause(options_)) - steady_ms();
  return std::chrono::milliseconds(std::max<std::int64_t>(due, 0));
}

// What has become of jobs of one object. Those that do not see it in a view that may be older than
// the object wait for the next one.
void Token::Core::settle(const std::vector<JobPtr>& batch, CK_RV rv) {
  const TokenJob& first = *batch[0];
  if (!first.since.has_value()) return finish(batch, rv);
  const bool sought =
      std::any_of(batch.begin(), batch.end(), [](const JobPtr& job) { return job->sought; });
  if (!is_unseen(rv)) {
    if (sought && rv == CKR_OK) {
      renew_pause_ms_ = 0;
      judged_ = incarnation_;
    }
    return finish(batch, rv);
  }
  if (state_ != State::ready) return finish(batch, CKR_DEVICE_ERROR);
  const bool seen_anew = std::any_of(
      batch.begin(), batch.end(), [this](const JobPtr& job) { return *job->since < incarnation_; });
  const bool known = first.key != nullptr && missing_.count(first.key->id) > 0;
  if (!seen_anew && !known) return park(batch);
  if (sought && judged_ != incarnation_) {
    judged_ = incarnation_;
    renew_pause_ms_ = std::min(2 * std::max(renew_pause_ms_, kPauseMs), kLongestPauseMs);
  }
  if (first.key != nullptr && missing_.insert(first.key->id).second)
    log(LogLevel::error, "KMS0146", call_text(first.key->label.c_str(), rv));
  finish(batch, rv);
}

// Not where a login would be refused: whoever is in stays in.
void Token::Core::park(const std::vector<JobPtr>& batch) {
  if (until_renewal().count() > kLongestParkMs || guard_->refused())
    return finish(batch, kKeyUnseen);
  for (const JobPtr& job : batch) {
    job->parked = job->sought = true;
    parked_.push_back(job);
  }
}

// The keeper's: closes the library as soon as nobody is in it, and has it opened again.
void Token::Core::renew(Lock& lock) {
  const std::int64_t begun = steady_ms();
  const bool hangs = std::any_of(workers_.begin(), workers_.end(), [&](const Worker* each) {
    return each->busy_since_ms != 0 && begun > each->busy_since_ms + kLongMs;
  });
  draining_ = true;
  const bool free = !hangs && keeper_.wait_for(lock, std::chrono::milliseconds(kDrainMs), [this] {
    return state_ != State::ready || !in_library();
  });
  draining_ = false;
  work_.notify_all();
  renewed_ms_ = steady_ms();
  if (state_ != State::ready || parked_.empty() || !free) return;
  if (guard_->refused()) return finish(std::exchange(parked_, {}), kKeyUnseen);
  state_ = State::renewing;
  lost_ms_ = renewed_ms_;
  pause_ms_ = 0;
  first_tries_ = 0;
  sought_ = parked_[0]->label;
  for (const JobPtr& job : parked_) {
    job->parked = false;
    job->queued = true;
    small_.push_front(job);
  }
  parked_.clear();
}

}  // namespace kms::pkcs11
