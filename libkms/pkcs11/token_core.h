// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pkcs11/library.h"
#include "pkcs11/token.h"

namespace kms::pkcs11 {

// One request to the threads: blocks to encrypt, or work. Shared by who waits and who works, as
// either may be gone first.
struct TokenJob {
  const char* what = "C_Encrypt";
  std::shared_ptr<const KeyRef> key;  // of blocks
  Bytes blocks;
  Secret result;
  Token::Work work;
  std::string label;                   // of the object that it is about, if there is one
  std::optional<Token::Moment> since;  // the object was there then; empty: it may be missing

  std::condition_variable changed;
  bool queued = true, done = false;  // guarded by the core's mutex, as all that follows
  bool parked = false;               // until somebody has looked anew
  bool sought = false;               // it was the reason for that
  CK_RV rv = CKR_OK;
};
using JobPtr = std::shared_ptr<TokenJob>;

// What the threads share. Lives as long as the last of them, which a hanging library may keep for
// ever. One mutex guards everything; no library call is made under it.
class Token::Core : public std::enable_shared_from_this<Token::Core> {
 public:
  Core(TokenOptions options, TokenAddress address, Secret pin, Logger& logger,
       std::shared_ptr<PinGuard> guard);

  void start();
  void stop() noexcept;
  bool ready() const noexcept { return ready_.load(std::memory_order_acquire); }
  Health condition() const noexcept { return health_.read(); }
  Moment moment() {
    const Lock lock(mutex_);
    return now();
  }
  // Queues the jobs and waits until all are done.
  Result<void> perform(const std::vector<JobPtr>& jobs);
  std::size_t batch_bytes() const noexcept {
    return static_cast<std::size_t>(options_.batch_bytes);
  }

 private:
  enum class State { starting, ready, renewing, lost, refused, stopped };
  // One thread and its session.
  struct Worker {
    CK_SESSION_HANDLE session = 0;
    std::uint64_t session_of = 0;                // incarnation
    std::int64_t busy_since_ms = 0;              // steady_ms(); 0: not in the library
    const std::vector<JobPtr>* batch = nullptr;  // while it is in the library
    bool left_behind = false;                    // it did not come back from a lost token
    Secret in, out;                              // buffers of a batch
  };
  using Lock = std::unique_lock<std::mutex>;

  // token_core.cpp: who waits
  Result<void> admit(Lock& lock);
  Result<void> wait_for(Lock& lock, const std::vector<JobPtr>& jobs);
  Error give_up(const std::vector<JobPtr>& jobs, std::int64_t waited_ms);
  bool stalled(std::int64_t now) const;
  void enqueue(const std::vector<JobPtr>& jobs);
  bool spawn(void (Core::*body)() noexcept);
  Error not_ready() const;

  // token_work.cpp: who works
  void worker_body() noexcept;
  void work(Lock& lock, Worker& me);
  std::vector<JobPtr> take();
  CK_RV execute(Worker& me, const std::vector<JobPtr>& batch, std::uint64_t incarnation,
                const Login& login);
  CK_RV encrypt_batch(Worker& me, const Session& session, const std::vector<JobPtr>& batch,
                      std::uint64_t incarnation);
  CK_RV handle_of(const Session& session, const KeyRef& key, std::uint64_t incarnation,
                  CK_OBJECT_HANDLE& out);
  bool no_session_left(Worker& me, const std::vector<JobPtr>& batch, CK_RV rv);
  void finish(const std::vector<JobPtr>& batch, CK_RV rv);
  void fail_queued(CK_RV rv);

  // token_renew.cpp: who looks anew
  void settle(const std::vector<JobPtr>& batch, CK_RV rv);
  void park(const std::vector<JobPtr>& batch);
  std::chrono::milliseconds until_renewal() const;
  void renew(Lock& lock);
  // The view that is there, by its incarnation, or the coming one, which may have begun already.
  Moment now() const { return state_ == State::ready ? incarnation_ : incarnation_ + 1; }
  bool held() const { return draining_ || state_ == State::renewing; }

  // token_keeper.cpp: who connects
  void keeper_body() noexcept;
  void lose(CK_RV rv, const char* what);
  void connect(Lock& lock);
  void connected(const Login& login);
  void not_connected(const LoginProblem& problem);
  LoginProblem open_library(Login& login);
  void look_after(Lock& lock);
  void close_library(Lock& lock);
  bool leave_behind();
  bool in_library() const;
  void log(LogLevel level, const char* id, const std::string& text) noexcept;

  const TokenOptions options_;
  const TokenAddress address_;
  const Secret pin_;
  const std::shared_ptr<PinGuard> guard_;
  std::atomic<bool> ready_{false};
  HealthNote health_;

  std::mutex mutex_;
  std::condition_variable work_, keeper_, settled_;
  Logger* logger_;  // null once stopped
  State state_ = State::starting;
  std::uint64_t incarnation_ = 0;  // of the login; object handles are good for one
  std::optional<Library> library_;
  bool initialized_ = false;
  Login login_;
  std::string why_;            // it is not ready
  std::int64_t lost_ms_ = 0;   // steady_ms(); at first, of the start
  std::int64_t pause_ms_ = 0;  // before the next try
  int first_tries_ = 0;        // of the start
  std::string complained_;     // what was logged last of a failing try
  bool hang_logged_ = false;

  std::deque<JobPtr> small_, large_;  // single batches, and those of a request with many
  bool large_next_ = false;
  std::vector<Worker*> workers_;
  std::size_t idle_ = 0, threads_ = 0, left_behind_ = 0, most_workers_;
  std::unordered_map<std::string, CK_OBJECT_HANDLE> handles_;  // by id

  std::vector<JobPtr> parked_;               // for the next view
  std::unordered_set<std::string> missing_;  // ids that a new view did not have either
  bool draining_ = false;                    // the threads are to come out of the library
  std::int64_t renewed_ms_ = -60'000;        // steady_ms()
  std::int64_t renew_pause_ms_ = 0;          // until the next, if longer than usual
  std::uint64_t judged_ = 0;                 // the last view of which it is known whether it helped
  std::string sought_;                       // the label of an object that it was for
};

}  // namespace kms::pkcs11
