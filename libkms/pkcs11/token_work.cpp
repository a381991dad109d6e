// SPDX-License-Identifier: Apache-2.0
// The side of the threads: one session each, jobs from the queue.
#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/clock.h"
#include "pkcs11/token_core.h"

namespace kms::pkcs11 {

void Token::Core::worker_body() noexcept {
  Lock lock(mutex_);
  Worker me;
  workers_.push_back(&me);
  try {
    me.in = Secret(batch_bytes());
    me.out = Secret(batch_bytes());
    while (state_ != State::stopped && workers_.size() <= most_workers_ && !me.left_behind)
      work(lock, me);
  } catch (const std::exception& e) {
    log(LogLevel::error, "KMS0159", e.what());
  }
  if (!lock.owns_lock()) lock.lock();
  std::erase(workers_, &me);
  if (me.left_behind) --left_behind_;
  --threads_;
  settled_.notify_all();
  keeper_.notify_all();
}

// The next job, and with it those of the same key that fit into the same call.
std::vector<JobPtr> Token::Core::take() {
  const bool large = small_.empty() || (large_next_ && !large_.empty());
  large_next_ = !large;
  auto& queue = large ? large_ : small_;
  std::vector<JobPtr> batch{queue.front()};
  queue.pop_front();
  if (batch[0]->key != nullptr) {
    std::size_t bytes = batch[0]->blocks.size();
    for (auto it = small_.begin(); it != small_.end() && bytes < batch_bytes();) {
      const TokenJob& next = **it;
      if (next.key == nullptr || next.key->id != batch[0]->key->id ||
          bytes + next.blocks.size() > batch_bytes()) {
        ++it;
        continue;
      }
      bytes += next.blocks.size();
      batch.push_back(*it);
      it = small_.erase(it);
    }
  }
  for (const JobPtr& job : batch) job->queued = false;
  return batch;
}

void Token::Core::work(Lock& lock, Worker& me) {
  while (held() || (small_.empty() && large_.empty())) {
    ++idle_;
    work_.wait(lock);
    --idle_;
    if (state_ == State::stopped || workers_.size() > most_workers_) return;
  }
  const std::vector<JobPtr> batch = take();
  if (state_ != State::ready) return finish(batch, CKR_DEVICE_ERROR);
  const std::uint64_t incarnation = incarnation_;
  const Login login = login_;
  me.busy_since_ms = steady_ms();
  me.batch = &batch;
  lock.unlock();
  const CK_RV rv = execute(me, batch, incarnation, login);
  lock.lock();
  me.busy_since_ms = 0;
  if (me.left_behind) return;  // those who asked have been told
  if (hang_logged_ && state_ == State::ready && !is_lost(rv)) {
    hang_logged_ = false;
    health_.good();
    log(LogLevel::notice, "KMS0144", "calls of the library come back again");
  }
  if (no_session_left(me, batch, rv)) return;
  // Before the answers leave, so that the next request already knows.
  if (is_lost(rv) && state_ == State::ready && incarnation == incarnation_)
    lose(rv, batch[0]->what);
  settle(batch, rv);
  keeper_.notify_all();
}

// The token gives no further session: the job goes back, the thread ends, the others serve. The
// last one tells the caller.
bool Token::Core::no_session_left(Worker& me, const std::vector<JobPtr>& batch, CK_RV rv) {
  if (rv != CKR_SESSION_COUNT || workers_.size() < 2) return false;
  for (auto it = batch.rbegin(); it != batch.rend(); ++it) {
    (*it)->queued = true;
    small_.push_front(*it);
  }
  most_workers_ = workers_.size() - 1;
  log(LogLevel::warn, "KMS0145",
      "the token gives no more sessions; this process goes on with " +
          std::to_string(most_workers_));
  me.session_of = 0;
  work_.notify_all();
  return true;
}

CK_RV Token::Core::execute(Worker& me, const std::vector<JobPtr>& batch, std::uint64_t incarnation,
                           const Login& login) {
  if (me.session_of != incarnation) {
    const CK_RV rv = (*library_)->C_OpenSession(login.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION,
                                                nullptr, nullptr, &me.session);
    if (rv != CKR_OK) return rv;
    me.session_of = incarnation;
  }
  const Session session{library_->operator->(), me.session};
  if (batch[0]->work) return batch[0]->work(session);
  return encrypt_batch(me, session, batch, incarnation);
}

CK_RV Token::Core::handle_of(const Session& session, const KeyRef& key, std::uint64_t incarnation,
                             CK_OBJECT_HANDLE& out) {
  {
    const Lock lock(mutex_);
    const auto known = handles_.find(key.id);
    if (known != handles_.end() && incarnation == incarnation_) {
      out = known->second;
      return CKR_OK;
    }
  }
  const CK_RV rv = find_key(session, key, out);
  const Lock lock(mutex_);
  if (rv == CKR_OK && incarnation == incarnation_) {
    handles_[key.id] = out;
    missing_.erase(key.id);
  }
  return rv;
}

CK_RV Token::Core::encrypt_batch(Worker& me, const Session& session,
                                 const std::vector<JobPtr>& batch, std::uint64_t incarnation) {
  const KeyRef& key = *batch[0]->key;
  std::size_t bytes = 0;
  for (const JobPtr& job : batch) {
    std::memcpy(me.in.data() + bytes, job->blocks.data(), job->blocks.size());
    bytes += job->blocks.size();
  }
  CK_RV rv = CKR_OK;
  for (int tries = 0; tries < 2; ++tries) {
    CK_OBJECT_HANDLE handle = 0;
    rv = handle_of(session, key, incarnation, handle);
    if (rv != CKR_OK) return rv;
    rv = encrypt_blocks(session, handle, me.in.data(), bytes, me.out.data());
    if (rv != CKR_KEY_HANDLE_INVALID && rv != CKR_OBJECT_HANDLE_INVALID) break;
    const Lock lock(mutex_);  // the object was made anew behind our back
    handles_.erase(key.id);
  }
  if (rv != CKR_OK) return rv;
  const std::uint8_t* from = me.out.data();
  for (const JobPtr& job : batch) {
    std::memcpy(job->result.data(), from, job->result.size());
    from += job->result.size();
  }
  OPENSSL_cleanse(me.out.data(), bytes);
  return CKR_OK;
}

void Token::Core::finish(const std::vector<JobPtr>& batch, CK_RV rv) {
  for (const JobPtr& job : batch) {
    job->rv = rv;
    job->done = true;
    job->changed.notify_all();
  }
}

void Token::Core::fail_queued(CK_RV rv) {
  finish(std::exchange(parked_, {}), rv);
  for (auto* queue : {&small_, &large_}) {
    const std::vector<JobPtr> all(queue->begin(), queue->end());
    queue->clear();
    for (const JobPtr& job : all) job->queued = false;
    finish(all, rv);
  }
}

}  // namespace kms::pkcs11
