// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/token.h"

#include <algorithm>

#include "pkcs11/token_core.h"

namespace kms::pkcs11 {
namespace {

constexpr std::int64_t kRetryAfterS = 2;

}  // namespace

Error token_error(const char* what, CK_RV rv, const std::string& label) {
  const std::string about = label.empty() ? std::string() : label + ": ";
  if (is_unseen(rv)) return Error(ErrorKind::corrupt, "The HSM: " + about + call_text(what, rv));
  Error error(ErrorKind::unavailable, "The HSM cannot serve now: " + about + call_text(what, rv));
  error.retry_after_s = kRetryAfterS;
  return error;
}

Token::Token(TokenOptions options, TokenAddress address, Secret pin, Logger& logger,
             std::shared_ptr<PinGuard> guard)
    : core_(std::make_shared<Core>(std::move(options), std::move(address), std::move(pin), logger,
                                   std::move(guard))) {}

Token::~Token() {
  stop();
}

void Token::start() {
  std::call_once(started_, [this] { core_->start(); });
}

void Token::stop() noexcept {
  core_->stop();
}

bool Token::ready() const noexcept {
  return core_->ready();
}

Health Token::condition() const noexcept {
  return core_->condition();
}

Result<Secret> Token::encrypt(std::shared_ptr<const KeyRef> key, ByteView blocks) {
  std::vector<JobPtr> jobs;
  for (std::size_t at = 0; at < blocks.size(); at += core_->batch_bytes()) {
    auto job = std::make_shared<TokenJob>();
    job->key = key;
    job->label = key->label;
    const auto part = blocks.subspan(at, std::min(core_->batch_bytes(), blocks.size() - at));
    job->blocks.assign(part.begin(), part.end());
    job->result = Secret(part.size());
    jobs.push_back(std::move(job));
  }
  if (jobs.empty()) return Secret();
  KMS_TRY(core_->perform(jobs));
  if (jobs.size() == 1) return std::move(jobs[0]->result);
  Secret all(blocks.size());
  std::uint8_t* to = all.data();
  for (const JobPtr& job : jobs) {
    const ByteView part = job->result.view();
    to = std::copy(part.begin(), part.end(), to);
  }
  return all;
}

Result<void> Token::run(const char* what, Work work) {
  auto job = std::make_shared<TokenJob>();
  job->what = what;
  job->work = std::move(work);
  return core_->perform({job});
}

Token::Moment Token::moment() const {
  return core_->moment();
}

Result<CK_RV> Token::look(const char* what, std::string label, Work work, Moment since) {
  auto job = std::make_shared<TokenJob>();
  job->what = what;
  job->label = std::move(label);
  job->work = std::move(work);
  job->since = since;
  auto done = core_->perform({job});
  if (done.ok()) return CKR_OK;
  // Read where nobody writes any more: what was given up is unavailable.
  if (done.error().kind == ErrorKind::corrupt) return job->rv;
  return std::move(done).error();
}

}  // namespace kms::pkcs11
