// SPDX-License-Identifier: Apache-2.0
// The thread that connects: at the start, and again whenever the token was lost.
#include <algorithm>
#include <chrono>

#include "core/clock.h"
#include "pkcs11/token_core.h"

namespace kms::pkcs11 {
namespace {

constexpr std::int64_t kFirstPauseMs = 100, kLongestPauseMs = 5000;
constexpr std::int64_t kWaitMs = 3000;  // for threads in the library of a lost token, and a turn
constexpr std::size_t kMostLeftBehind = 256;
constexpr int kFirstTries = 4;
constexpr auto kLookEvery = std::chrono::seconds(5);

}  // namespace

void Token::Core::keeper_body() noexcept {
  Lock lock(mutex_);
  try {
    while (state_ != State::stopped) {
      if (state_ == State::ready && !parked_.empty() && until_renewal().count() == 0)
        renew(lock);
      else if (state_ == State::starting || state_ == State::lost || state_ == State::renewing)
        connect(lock);
      else
        look_after(lock);
    }
    // Children of httpd end in a hurry: only what is idle is closed.
    if (!in_library()) close_library(lock);
  } catch (const std::exception& e) {
    if (!lock.owns_lock()) lock.lock();
    log(LogLevel::error, "KMS0160", e.what());
  }
  --threads_;
  settled_.notify_all();
}

bool Token::Core::in_library() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const Worker* each) { return each->busy_since_ms != 0; });
}

// With the lock. From here on requests are refused at once.
void Token::Core::lose(CK_RV rv, const char* what) {
  state_ = State::lost;
  ready_.store(false, std::memory_order_release);
  lost_ms_ = steady_ms();
  pause_ms_ = 0;
  why_ = "it was lost (" + call_text(what, rv) + ") and is being connected to again";
  complained_.clear();
  health_.set(HealthState::failing, "the HSM is lost; it is being connected to again");
  log(LogLevel::error, "KMS0141",
      "the token was lost: " + call_text(what, rv) + "; it is being connected to again");
  fail_queued(rv);
  keeper_.notify_all();
}

// Asks whether the login still holds, so that a loss is repaired before a request meets it.
void Token::Core::look_after(Lock& lock) {
  const auto moved_on = [this] { return state_ == State::stopped || state_ == State::lost; };
  if (parked_.empty())
    keeper_.wait_for(lock, kLookEvery, [&] { return moved_on() || !parked_.empty(); });
  else
    keeper_.wait_for(lock, until_renewal(), moved_on);
  if (state_ != State::ready || !parked_.empty()) return;
  const Library library = *library_;
  const CK_SESSION_HANDLE session = login_.session;
  const std::uint64_t incarnation = incarnation_;
  lock.unlock();
  CK_SESSION_INFO info{};
  const CK_RV rv = library->C_GetSessionInfo(session, &info);
  lock.lock();
  if (is_lost(rv) && state_ == State::ready && incarnation == incarnation_)
    lose(rv, "C_GetSessionInfo");
}

// C_Finalize while another thread is in the library is undefined, so they are waited for. But there
// are libraries that never wake threads up whose connection is gone (the client of p11-kit 0.24);
// the alternative to finalizing under these is a new process. False: there are too many by now.
bool Token::Core::leave_behind() {
  std::size_t busy = 0;
  for (const Worker* each : workers_) busy += each->busy_since_ms != 0;
  if (left_behind_ + busy > kMostLeftBehind) return false;
  for (Worker* each : workers_) {
    if (each->busy_since_ms == 0) continue;
    each->left_behind = true;
    finish(*each->batch, CKR_DEVICE_ERROR);
  }
  std::erase_if(workers_, [](const Worker* each) { return each->left_behind; });
  left_behind_ += busy;
  log(LogLevel::warn, "KMS0161",
      std::to_string(busy) +
          " threads do not come back from the library of the lost token; they "
          "are left behind");
  return true;
}

void Token::Core::close_library(Lock& lock) {
  if (!initialized_) return;
  initialized_ = false;
  const Library library = *library_;
  lock.unlock();
  library->C_Finalize(nullptr);
  lock.lock();
}

LoginProblem Token::Core::open_library(Login& login) {
  if (!library_) {
    auto loaded = Library::load(options_.library);
    if (!loaded.ok()) return {CKR_FUNCTION_FAILED, std::move(loaded).error().message, true};
    library_ = *loaded;
  }
  if (const CK_RV rv = library_->initialize(); rv != CKR_OK)
    return {rv, call_text("C_Initialize", rv), false};
  auto problem = log_in(*library_, address_, pin_, login, options_.pin_file);
  if (!problem.text.empty()) (*library_)->C_Finalize(nullptr);
  return problem;
}

void Token::Core::connect(Lock& lock) {
  const auto moved_on = [this] { return state_ == State::stopped; };
  const auto free = [&] { return moved_on() || !in_library(); };
  if (!keeper_.wait_for(lock, std::chrono::milliseconds(std::min(options_.timeout_ms, kWaitMs)),
                        free) &&
      !leave_behind())
    keeper_.wait(lock, free);
  if (moved_on()) return;
  close_library(lock);
  if (keeper_.wait_for(lock, std::chrono::milliseconds(pause_ms_), moved_on)) return;
  Login login;
  const std::int64_t since_ms = lost_ms_, wait_ms = std::min(options_.timeout_ms, kWaitMs);
  lock.unlock();
  const LoginProblem problem =
      guard_->in_turn(since_ms, wait_ms, [&] { return open_library(login); });
  lock.lock();
  initialized_ = problem.text.empty();
  if (moved_on()) return;
  if (problem.text.empty())
    connected(login);
  else
    not_connected(problem);
  settled_.notify_all();
}

void Token::Core::connected(const Login& login) {
  const State before = state_;
  login_ = login;
  handles_.clear();
  ++incarnation_;
  most_workers_ = static_cast<std::size_t>(options_.sessions);
  state_ = State::ready;
  hang_logged_ = false;
  ready_.store(true, std::memory_order_release);
  health_.good();
  work_.notify_all();
  const std::string took = std::to_string(steady_ms() - lost_ms_) + " ms";
  if (before == State::renewing) {
    renewed_ms_ = steady_ms();
    log(LogLevel::info, "KMS0166",
        sought_ + " was not in the token as this process saw it, which has logged in anew, in " +
            took);
  } else if (before == State::lost)
    log(LogLevel::notice, "KMS0142", "the token is back after " + took);
  else
    log(LogLevel::info, "KMS0140", "logged in");
}

void Token::Core::not_connected(const LoginProblem& problem) {
  // At a start others are at work in the token, and a library may see half of what they write.
  if ((state_ == State::starting || state_ == State::renewing) && !problem.for_good &&
      ++first_tries_ < kFirstTries) {
    pause_ms_ = kFirstPauseMs;
    return;
  }
  ready_.store(false, std::memory_order_release);
  fail_queued(CKR_DEVICE_ERROR);
  state_ = problem.for_good ? State::refused : State::lost;
  why_ = problem.text;
  pause_ms_ = std::clamp(pause_ms_ * 2, kFirstPauseMs, kLongestPauseMs);
  health_.set(HealthState::failing,
              problem.for_good ? "the HSM refuses the login; see the error log, then reload httpd"
                               : "the HSM cannot be reached");
  if (complained_ == problem.text) return;
  complained_ = problem.text;
  log(LogLevel::error, problem.for_good ? "KMS0147" : "KMS0148",
      "the token cannot be used: " + problem.text +
          (problem.for_good ? "; not tried again until httpd is reloaded" : "; tried again"));
}

}  // namespace kms::pkcs11
