// SPDX-License-Identifier: Apache-2.0
#include "records/signer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "auth/rolling_secrets.h"
#include "core/clock.h"
#include "core/thread_cached.h"
#include "crypto/random.h"

namespace kms {
namespace {

constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kDateBytes = 8;
constexpr std::size_t kContentBytes = 2 * kDateBytes + 3 * kSecretBytes;

struct Secrets : RollingSecrets {
  std::int64_t revision = 0;  // of the record
};
using SecretsPtr = std::shared_ptr<const Secrets>;

void write_date(std::int64_t ms, std::uint8_t* to) {
  for (std::size_t i = 0; i < kDateBytes; ++i)
    to[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(ms) >> (56 - 8 * i));
}

std::int64_t read_date(const std::uint8_t* from) {
  std::uint64_t ms = 0;
  for (std::size_t i = 0; i < kDateBytes; ++i) ms = ms << 8 | from[i];
  return static_cast<std::int64_t>(ms);
}

// due, rolled, next, current, previous.
Secret encode(const RollingSecrets& secrets) {
  Secret out(kContentBytes);
  write_date(secrets.due_ms, out.data());
  write_date(secrets.rolled_ms, out.data() + kDateBytes);
  std::uint8_t* to = out.data() + 2 * kDateBytes;
  for (const Secret* each : {&secrets.next, &secrets.current, &secrets.previous}) {
    const ByteView bytes = each->view();
    to = std::copy(bytes.begin(), bytes.end(), to);
  }
  return out;
}

SecretsPtr decode(const Record& record) {
  const ByteView bytes = record.content.view();
  if (bytes.size() != kContentBytes) return nullptr;
  auto out = std::make_shared<Secrets>();
  out->revision = record.revision;
  out->due_ms = read_date(bytes.data());
  out->rolled_ms = read_date(bytes.data() + kDateBytes);
  std::size_t at = 2 * kDateBytes;
  for (Secret* each : {&out->next, &out->current, &out->previous}) {
    *each = Secret(bytes.subspan(at, kSecretBytes));
    at += kSecretBytes;
  }
  return out;
}

Result<Secret> fresh_secret() {
  Secret made(kSecretBytes);
  KMS_TRY(fill_private({made.data(), made.size()}));
  return made;
}

class RecordSigner final : public SignerSecrets {
 public:
  RecordSigner(Records& records, std::int64_t period_ms, Logger& logger)
      : records_(records),
        period_ms_(period_ms),
        grace_ms_(RollingSecrets::grace(period_ms)),
        logger_(logger) {}

  // A child that begins without secrets would refuse good cookies for a moment.
  Result<void> attach() override {
    attached_ = true;
    poll();
    return {};
  }
  void poll() noexcept override;
  Result<std::array<std::uint8_t, 32>> sign(std::string_view text) override;
  bool verify(std::string_view text, std::string_view base64) override;
  Health condition() const noexcept override;

 private:
  Result<void> look();
  Result<void> make();
  Result<void> roll(const Secrets& seen, std::int64_t now);
  Result<bool> write(const RollingSecrets& secrets, std::int64_t revision);
  void adopt(SecretsPtr secrets);
  const Secrets* newest();

  Records& records_;
  const std::int64_t period_ms_, grace_ms_;
  Logger& logger_;
  std::atomic<bool> attached_{false};
  HealthNote note_;
  std::string told_;  // the last complaint, so that it is not repeated; of the thread of poll()

  std::mutex mutex_;  // guards what follows
  SecretsPtr latest_;
  std::atomic<std::uint64_t> generation_{0};  // counts the changes of latest_
  ThreadCached<Secrets> cached_;
};

const Secrets* RecordSigner::newest() {
  const std::uint64_t generation = generation_.load(std::memory_order_acquire);
  if (generation == 0) return nullptr;
  if (const Secrets* mine = cached_.get(generation); mine != nullptr) return mine;
  const std::lock_guard hold(mutex_);
  return cached_.put(generation_.load(std::memory_order_relaxed), latest_);
}

void RecordSigner::adopt(SecretsPtr secrets) {
  const std::lock_guard hold(mutex_);
  latest_ = std::move(secrets);
  generation_.fetch_add(1, std::memory_order_release);
}

void RecordSigner::poll() noexcept {
  try {
    auto looked = look();
    if (looked.ok()) {
      told_.clear();
      note_.good();
      return;
    }
    note_.set(newest() != nullptr ? HealthState::degraded : HealthState::failing,
              newest() != nullptr
                  ? "the cookie secrets cannot be read or written; those last read go on"
                  : "there are no cookie secrets: they could not be read since the start");
    if (looked.error().message == told_) return;
    told_ = looked.error().message;
    logger_.log(LogLevel::warn, "KMS0370", "cookie secrets: " + told_);
  } catch (const std::exception& e) {
    logger_.log(LogLevel::error, "KMS0373", e.what());
  }
}

Result<void> RecordSigner::look() {
  auto record = records_.find(kCookieSecrets, 0);
  if (!record.ok()) return std::move(record).error();
  if (*record == nullptr) return make();
  const Secrets* seen = newest();
  if (seen == nullptr || seen->revision != (*record)->revision) {
    SecretsPtr fresh = decode(**record);
    if (fresh == nullptr)
      return Error(ErrorKind::corrupt,
                   "the record holds something else; is another program "
                   "version at work?");
    adopt(std::move(fresh));
    seen = newest();
  }
  const std::int64_t now = now_ms();
  // A store that is away would keep this thread waiting, and there is time.
  if (now < seen->due_ms || records_.condition().state != HealthState::good) return {};
  return roll(*seen, now);
}

Result<bool> RecordSigner::write(const RollingSecrets& secrets, std::int64_t revision) {
  Record record;
  record.expires_ms = secrets.due_ms;
  record.revision = revision;
  record.content = encode(secrets);
  auto first = records_.put(kCookieSecrets, record);
  if (!first.ok()) return std::move(first).error();
  auto stored = records_.read(kCookieSecrets, 0);
  if (!stored.ok()) return std::move(stored).error();
  SecretsPtr fresh = *stored != nullptr ? decode(**stored) : nullptr;
  if (fresh != nullptr) adopt(std::move(fresh));
  return *first;
}

// Everyone tries, one succeeds, and all go on from what it wrote. Where somebody took the record
// away, cookies in use stay valid.
Result<void> RecordSigner::make() {
  RollingSecrets first;
  if (const Secrets* seen = newest(); seen != nullptr) {
    first.next = seen->next.clone();
    first.current = seen->current.clone();
    first.previous = seen->previous.clone();
    first.due_ms = seen->due_ms;
    first.rolled_ms = seen->rolled_ms;
  } else {
    for (Secret* each : {&first.next, &first.current, &first.previous}) {
      auto made = fresh_secret();
      if (!made.ok()) return std::move(made).error();
      *each = std::move(*made);
    }
    first.due_ms = now_ms() + period_ms_;
  }
  const auto mine = write(first, 0);
  if (!mine.ok()) return mine.error();
  if (*mine) logger_.log(LogLevel::info, "KMS0371", "new cookie secrets, which all nodes share");
  return {};
}

Result<void> RecordSigner::roll(const Secrets& seen, std::int64_t now) {
  RollingSecrets rolled;
  auto next = fresh_secret();
  if (!next.ok()) return std::move(next).error();
  rolled.next = std::move(*next);
  rolled.current = seen.next.clone();
  rolled.previous = (now < seen.due_ms + period_ms_ ? seen.current : seen.next).clone();
  rolled.rolled_ms = now;
  rolled.due_ms = now + period_ms_;
  const auto mine = write(rolled, seen.revision);
  if (!mine.ok()) return mine.error();
  if (*mine) logger_.log(LogLevel::debug, "KMS0372", "rolled the cookie secrets");
  return {};
}

Result<std::array<std::uint8_t, 32>> RecordSigner::sign(std::string_view text) {
  const Secrets* secrets = newest();
  if (secrets == nullptr)
    return Error(ErrorKind::unavailable, "The cookie secrets in the key store are out of reach");
  return hmac_sha256(secrets->signing(now_ms(), grace_ms_).view(), as_bytes(text));
}

bool RecordSigner::verify(std::string_view text, std::string_view base64) {
  const Secrets* secrets = newest();
  return secrets != nullptr && secrets->matches(now_ms(), period_ms_, text, base64);
}

// With the store away look() finds the record in memory for a while, which is no error.
Health RecordSigner::condition() const noexcept {
  if (!attached_) return {};
  const Health note = note_.read();
  if (note.state != HealthState::good) return note;
  const Health store = records_.condition();
  if (store.state == HealthState::good) return {};
  return {HealthState::degraded, store.since_ms,
          "the cookie secrets cannot be read or written; those last read go on"};
}

}  // namespace

Result<std::unique_ptr<SignerSecrets>> make_record_signer(Records& records, std::int64_t period_ms,
                                                          Logger& logger) {
  if (period_ms <= 0)
    return Error(ErrorKind::configuration,
                 "hadoop.kms.authentication.token.validity must be more than 0");
  return std::unique_ptr<SignerSecrets>(std::make_unique<RecordSigner>(records, period_ms, logger));
}

}  // namespace kms
