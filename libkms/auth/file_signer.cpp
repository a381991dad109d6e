// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "auth/secret_file.h"
#include "auth/signature.h"
#include "auth/signer.h"
#include "auth/text.h"
#include "core/clock.h"
#include "core/thread_cached.h"

namespace kms {
namespace {

// More than any rolling needs; bounds what a bad signature costs.
constexpr std::size_t kMaxSecrets = 8;
// Two changes within one tick of the file system's clock look like one, so that young files are
// read once more.
constexpr std::int64_t kYoungNs = 2'000'000'000;

using SharedSecret = std::shared_ptr<const Secret>;

// What sign() and verify() go by. The first one signs.
struct Keys {
  std::uint64_t version = 0;
  std::vector<SharedSecret> secrets;
};

struct Known {
  SharedSecret secret;
  unsigned places = 0;       // a bit for each file that has it
  std::int64_t left_ms = 0;  // when the last file lost it
};

struct Watched {
  std::string path;
  FileStamp stamp;
  bool failed = false;  // when it was read last
  bool told = false;    // and that is on record
};

class FileSigner final : public SignerSecrets {
 public:
  FileSigner(const std::string& path, std::int64_t keep_ms, Logger& logger)
      : keep_ms_(keep_ms), logger_(logger) {
    files_[kCurrent].path = path;
    files_[kNext].path = path + ".next";
    files_[kPrevious].path = path + ".previous";
  }

  // Once, before anything else.
  void start(Secret current) {
    for (Watched& file : files_) file.stamp = stamp_of(file.path);
    take(kCurrent, std::move(current));
    for (const std::size_t place : {kNext, kPrevious}) read(place, false);
    // Not trusted: a change between here and the first look would be taken for none.
    again_ = true;
    publish();
  }

  Result<void> attach() override {
    // Into the locked heap of this process.
    for (Known& known : known_)
      known.secret = std::make_shared<const Secret>(known.secret->clone());
    changed_ = true;
    look();
    return {};
  }

  void poll() noexcept override {
    try {
      look();
    } catch (const std::exception& e) {
      logger_.log(LogLevel::error, "KMS0364", e.what());
    }
  }

  Result<Sha256Mac> sign(std::string_view text) override {
    return hmac_sha256(newest().secrets.front()->view(), as_bytes(text));
  }

  Health condition() const noexcept override { return health_.read(); }

  bool verify(std::string_view text, std::string_view base64) override {
    for (const SharedSecret& secret : newest().secrets)
      if (signature_matches(secret->view(), text, base64)) return true;
    return false;
  }

 private:
  static constexpr std::size_t kCurrent = 0, kNext = 1, kPrevious = 2;

  // In the normal case one atomic load.
  const Keys& newest() {
    const Keys* mine = cached_.get(version_.load(std::memory_order_acquire));
    if (mine != nullptr) return *mine;
    const std::lock_guard lock(latest_mutex_);
    return *cached_.put(latest_->version, latest_);
  }

  void look() {
    bool reread = std::exchange(again_, false);
    const std::int64_t now_ns = now_ms() * 1'000'000;
    for (Watched& file : files_) {
      // Before the content: what changes in between is seen the next time.
      const FileStamp stamp = stamp_of(file.path);
      reread = reread || stamp != file.stamp;
      again_ = again_ || std::abs(now_ns - stamp.changed_ns) < kYoungNs;
      file.stamp = stamp;
    }
    // A file that is being replaced may be gone for a moment; said when it is of no use twice.
    if (reread)
      for (const std::size_t place : {kCurrent, kNext, kPrevious}) read(place, true);
    forget();
    publish();
  }

  // patient: the first failure is not put on record, but looked at again.
  void read(std::size_t place, bool patient) {
    Watched& file = files_[place];
    SecretFile content = read_secret_file(file.path);
    const bool absent = place != kCurrent && content.error == ENOENT;
    if (content.good() || absent) {
      file.failed = file.told = false;
      if (place == kCurrent) health_.good();
      if (absent) leave(place, nullptr);
      if (content.good()) take(place, std::move(content.secret));
      return;
    }
    // Unknown what it holds: what it held stays.
    if (!std::exchange(file.failed, true) && patient) {
      again_ = true;
    } else if (!std::exchange(file.told, true)) {
      complain(place, content);
    }
  }

  void complain(std::size_t place, const SecretFile& content) {
    if (place == kCurrent)
      health_.set(HealthState::degraded,
                  "the file of the cookie secret cannot be read; the secret read before signs");
    const std::string path = printable(files_[place].path, 1024);
    if (content.error == EACCES || content.error == EPERM) {
      logger_.log(LogLevel::warn, "KMS0362",
                  path + " cannot be read by user id " + std::to_string(geteuid()) +
                      ": give it read permission on the file and search permission on its folder; "
                      "until then a changed secret is noticed by a graceful restart only");
    } else if (place == kCurrent) {
      logger_.log(LogLevel::warn, "KMS0361",
                  path + ": " + content.problem + "; the secret read before goes on signing");
    } else {
      logger_.log(LogLevel::warn, "KMS0363",
                  path + ": " + content.problem + "; no secret is taken from it");
    }
  }

  // The file at place holds this secret now.
  void take(std::size_t place, Secret secret) {
    auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) {
      return known.secret->equals(secret.view());
    });
    if (found == known_.end()) {
      known_.push_back({std::make_shared<const Secret>(std::move(secret))});
      found = known_.end() - 1;
      changed_ = true;
    }
    if (place == kCurrent && found != known_.begin()) {
      std::rotate(known_.begin(), found, found + 1);
      found = known_.begin();
      changed_ = true;
      logger_.log(LogLevel::notice, "KMS0360",
                  "The secret of " + printable(files_[place].path, 1024) +
                      " has changed and signs cookies from now on");
    }
    found->places |= 1u << place;
    leave(place, &*found);
  }

  // The file at place holds none of the others any more.
  void leave(std::size_t place, const Known* holder) {
    for (Known& known : known_) {
      if (&known == holder || (known.places & 1u << place) == 0) continue;
      known.places &= ~(1u << place);
      if (known.places == 0) known.left_ms = steady_ms();
    }
  }

  void forget() {
    const std::int64_t now = steady_ms();
    const auto spare = [](const Known& known) { return known.places == 0; };
    // The one that signs is in its file, or was when that could last be read.
    changed_ |= std::erase_if(known_, [&](const Known& known) {
                  return spare(known) && now - known.left_ms > keep_ms_;
                }) > 0;
    while (known_.size() > kMaxSecrets) {
      // From the back: those that signed later are in front of those that did before.
      const auto oldest =
          std::min_element(known_.rbegin(), known_.rend(), [&](const Known& a, const Known& b) {
            if (spare(a) != spare(b)) return spare(a);
            return spare(a) && a.left_ms < b.left_ms;
          });
      known_.erase(oldest.base() - 1);
      changed_ = true;
    }
  }

  void publish() {
    if (!std::exchange(changed_, false)) return;
    auto keys = std::make_shared<Keys>();
    keys->version = version_.load(std::memory_order_relaxed) + 1;
    for (const Known& known : known_) keys->secrets.push_back(known.secret);
    {
      const std::lock_guard lock(latest_mutex_);
      latest_ = keys;
    }
    version_.store(keys->version, std::memory_order_release);
  }

  const std::int64_t keep_ms_;
  Logger& logger_;
  // Of the thread that calls attach() and poll().
  std::array<Watched, 3> files_;
  std::vector<Known> known_;  // the first one signs
  bool again_ = false;        // read at the next look whatever the stamps say
  bool changed_ = false;      // since the last publish()

  HealthNote health_;
  ThreadCached<Keys> cached_;
  std::atomic<std::uint64_t> version_{0};
  std::mutex latest_mutex_;
  std::shared_ptr<const Keys> latest_;
};

}  // namespace

Result<std::unique_ptr<SignerSecrets>> make_file_signer(const std::string& path,
                                                        std::int64_t keep_ms, Logger& logger) {
  auto current = read_signature_secret(path);
  if (!current.ok()) return std::move(current).error();
  auto made = std::make_unique<FileSigner>(path, keep_ms, logger);
  made->start(std::move(*current));
  return std::unique_ptr<SignerSecrets>(std::move(made));
}

}  // namespace kms
