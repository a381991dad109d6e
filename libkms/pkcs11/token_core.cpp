// SPDX-License-Identifier: Apache-2.0
// The side of the callers: who is let in, how long they wait.
#include "pkcs11/token_core.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/clock.h"

namespace kms::pkcs11 {
namespace {

constexpr std::int64_t kRetryAfterS = 2;
// With every thread in the library for this long nobody else is let in to wait.
constexpr std::int64_t kStalledMs = 1000;
constexpr std::int64_t kStopMs = 2000;

Error unavailable(std::string text) {
  Error error(ErrorKind::unavailable, std::move(text));
  error.retry_after_s = kRetryAfterS;
  return error;
}

}  // namespace

Token::Core::Core(TokenOptions options, TokenAddress address, Secret pin, Logger& logger,
                  std::shared_ptr<PinGuard> guard)
    : options_(std::move(options)),
      address_(std::move(address)),
      pin_(std::move(pin)),
      guard_(std::move(guard)),
      logger_(&logger),
      most_workers_(static_cast<std::size_t>(options_.sessions)) {}

void Token::Core::log(LogLevel level, const char* id, const std::string& text) noexcept {
  if (logger_ != nullptr) logger_->log(level, id, address_.text() + ": " + text);
}

// A thread that may outlive everybody. It takes no signals: SIGPIPE of a write in the library goes
// to the thread that writes, and waits there for ever.
bool Token::Core::spawn(void (Core::*body)() noexcept) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = false;
  try {
    std::thread([self = shared_from_this(), body] { ((*self).*body)(); }).detach();
    ++threads_;
    started = true;
  } catch (const std::exception&) {
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void Token::Core::start() {
  Lock lock(mutex_);
  health_.set(HealthState::failing, "the HSM is being connected to");
  why_ = "it is being connected to";
  lost_ms_ = steady_ms();
  if (!spawn(&Core::keeper_body)) {
    state_ = State::lost;
    why_ = "no thread could be started";
    return;
  }
  settled_.wait_for(lock, std::chrono::milliseconds(options_.timeout_ms),
                    [this] { return state_ != State::starting; });
}

void Token::Core::stop() noexcept {
  Lock lock(mutex_);
  if (state_ == State::stopped) return;
  state_ = State::stopped;
  ready_.store(false, std::memory_order_release);
  fail_queued(CKR_FUNCTION_CANCELED);
  work_.notify_all();
  keeper_.notify_all();
  settled_.wait_for(lock, std::chrono::milliseconds(kStopMs),
                    [this] { return threads_ == left_behind_; });
  logger_ = nullptr;
}

Error Token::Core::not_ready() const {
  return unavailable("The HSM cannot serve now: " + why_);
}

// Every thread that there may be is in the library, and none came out of it for a while.
bool Token::Core::stalled(std::int64_t now) const {
  if (idle_ > 0 || workers_.size() < most_workers_) return false;
  return std::all_of(workers_.begin(), workers_.end(), [&](const Worker* each) {
    return each->busy_since_ms != 0 && now - each->busy_since_ms > kStalledMs;
  });
}

Result<void> Token::Core::admit(Lock& lock) {
  if (state_ == State::starting)
    settled_.wait_for(lock, std::chrono::milliseconds(options_.timeout_ms),
                      [this] { return state_ != State::starting; });
  if (state_ != State::ready && state_ != State::renewing) return not_ready();
  if (stalled(steady_ms()))
    return unavailable("The HSM cannot serve now: its library does not come back from calls");
  return {};
}

void Token::Core::enqueue(const std::vector<JobPtr>& jobs) {
  auto& queue = jobs.size() == 1 ? small_ : large_;
  queue.insert(queue.end(), jobs.begin(), jobs.end());
  const std::size_t waiting = small_.size() + large_.size();
  const auto started = [this] { return threads_ - left_behind_ - 1; };  // one is the keeper
  while (started() < most_workers_ && idle_ + started() - workers_.size() < waiting)
    if (!spawn(&Core::worker_body)) break;
  if (jobs.size() == 1)
    work_.notify_one();
  else
    work_.notify_all();
}

Error Token::Core::give_up(const std::vector<JobPtr>& jobs, std::int64_t waited_ms) {
  bool running = false, parked = false;
  for (const JobPtr& job : jobs) {
    parked = parked || job->parked;
    running = running || (!job->done && !job->queued);
    std::erase(parked_, job);
    if (!job->queued) continue;
    std::erase(small_, job);
    std::erase(large_, job);
  }
  if (parked) return token_error(jobs[0]->what, kKeyUnseen, jobs[0]->label);
  const std::string text = std::string(running ? jobs[0]->what : "a free session of the HSM") +
                           " did not come within " + std::to_string(waited_ms) + " ms";
  if (!hang_logged_)
    log(LogLevel::error, "KMS0143", text + "; such requests are answered with 503");
  hang_logged_ = true;
  health_.set(HealthState::failing, "calls of the HSM's library do not come back");
  return unavailable("The HSM cannot serve now: " + text);
}

// Each call has the whole timeout: it counts from the last job that came back.
Result<void> Token::Core::wait_for(Lock& lock, const std::vector<JobPtr>& jobs) {
  for (const JobPtr& job : jobs) {
    if (!job->changed.wait_for(lock, std::chrono::milliseconds(options_.timeout_ms),
                               [&] { return job->done; }))
      return give_up(jobs, options_.timeout_ms);
  }
  return {};
}

Result<void> Token::Core::perform(const std::vector<JobPtr>& jobs) {
  Lock lock(mutex_);
  for (const JobPtr& job : jobs)
    if (job->key != nullptr) job->since = now();
  KMS_TRY(admit(lock));
  enqueue(jobs);
  KMS_TRY(wait_for(lock, jobs));
  for (const JobPtr& job : jobs)
    if (job->rv != CKR_OK)
      return token_error(job->what, job->rv, job->key != nullptr ? job->label : std::string());
  return {};
}

}  // namespace kms::pkcs11
