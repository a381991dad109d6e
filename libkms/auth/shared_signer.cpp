// SPDX-License-Identifier: Apache-2.0
#include <openssl/crypto.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "auth/shared_signer_layout.h"
#include "auth/signature.h"
#include "auth/signer.h"
#include "core/clock.h"
#include "core/thread_cached.h"
#include "crypto/random.h"

namespace kms {
namespace {

using Region = SharedSignerRegion;

// Holds the mutex of the region. There is no system call inside, so the time a process can be
// killed or stopped with the mutex held is some hundred nanoseconds.
class Lock {
 public:
  explicit Lock(Region& region) : mutex_(region.mutex) {
    const int rc = pthread_mutex_lock(&mutex_);
    // The owner died. There is nothing to repair: its half-written slot is not published.
    held_ = rc == 0 || (rc == EOWNERDEAD && pthread_mutex_consistent(&mutex_) == 0);
  }
  ~Lock() {
    if (held_) pthread_mutex_unlock(&mutex_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  bool held() const { return held_; }

 private:
  pthread_mutex_t& mutex_;
  bool held_;
};

bool prepared(const Region& region) {
  return region.magic == Region::kMagic && region.layout == Region::kLayout &&
         region.bytes == sizeof(Region) && region.generation.load() > 0;
}

bool init_mutex(pthread_mutex_t& mutex) {
  pthread_mutexattr_t attributes;
  if (pthread_mutexattr_init(&attributes) != 0) return false;
  const bool made = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                    pthread_mutex_init(&mutex, &attributes) == 0;
  pthread_mutexattr_destroy(&attributes);
  return made;
}

// One generation as this process has read it; shared by its threads.
struct Keys {
  std::uint64_t generation = 0;
  std::int64_t born_ms = 0;
  Secret current, previous;  // previous is empty when no longer accepted
};

class SharedSigner final : public SignerSecrets {
 public:
  explicit SharedSigner(Region& region) : region_(region) {}

  Result<Sha256Mac> sign(std::string_view text) override {
    const Keys* keys = newest();
    if (keys == nullptr) return Error(ErrorKind::internal, "The cookie secret is out of reach");
    return hmac_sha256(keys->current.view(), as_bytes(text));
  }

  bool verify(std::string_view text, std::string_view base64) override {
    const Keys* keys = newest();
    if (keys == nullptr) return false;
    return signature_matches(keys->current.view(), text, base64) ||
           (!keys->previous.empty() && signature_matches(keys->previous.view(), text, base64));
  }

 private:
  bool due(const Keys& keys, std::int64_t now) const {
    return now - keys.born_ms >= region_.period_ms.load(std::memory_order_relaxed);
  }

  // The keys to use now; null when the region is of no use. In the normal case two atomic loads and
  // a look at the clock.
  const Keys* newest() {
    const std::int64_t now = steady_ms();
    const Keys* mine = cached_.get(region_.generation.load(std::memory_order_acquire));
    if (mine != nullptr && !due(*mine, now)) return mine;

    auto keys = read();
    if (keys && due(*keys, now)) {
      // Without randomness the old secret stays: its cookies are as good as they were.
      if (roll(*keys, now)) keys = read();
    }
    return keys ? cached_.put(keys->generation, keys) : nullptr;
  }

  std::shared_ptr<const Keys> read() {
    const std::lock_guard mine(latest_mutex_);
    if (!prepared(region_)) return nullptr;
    if (latest_ && latest_->generation == region_.generation.load(std::memory_order_acquire))
      return latest_;
    // Memory is taken before the lock, so that nothing is called while it is held.
    auto keys = std::make_shared<Keys>();
    keys->current = Secret(sizeof Region::Slot::secret);
    keys->previous = Secret(sizeof Region::Slot::secret);
    bool previous_too = false;
    {
      const Lock lock(region_);
      if (!lock.held()) return nullptr;
      const std::uint64_t generation = region_.generation.load(std::memory_order_relaxed);
      const Region::Slot& now = slot(generation);
      std::memcpy(keys->current.data(), now.secret, sizeof now.secret);
      std::memcpy(keys->previous.data(), slot(generation - 1).secret, sizeof now.secret);
      previous_too = now.previous_too != 0;
      keys->generation = generation;
      keys->born_ms = now.born_ms;
    }
    if (!previous_too) keys->previous = Secret();
    latest_ = keys;
    return keys;
  }

  // Draws the secret after seen, unless another thread or process did so first.
  bool roll(const Keys& seen, std::int64_t now) {
    Secret fresh(sizeof Region::Slot::secret);
    if (!fill_private({fresh.data(), fresh.size()}).ok()) return false;
    const Lock lock(region_);
    if (!lock.held()) return false;
    if (region_.generation.load(std::memory_order_relaxed) != seen.generation) return true;
    Region::Slot& next = slot(seen.generation + 1);
    next.born_ms = now;
    // After a long silence the secret in use is older than Java's timer would have left it.
    next.previous_too = now - seen.born_ms < 2 * region_.period_ms.load() ? 1 : 0;
    std::memcpy(next.secret, fresh.view().data(), sizeof next.secret);
    region_.generation.store(seen.generation + 1, std::memory_order_release);
    Region::Slot& dropped = slot(seen.generation - 1);
    OPENSSL_cleanse(dropped.secret, sizeof dropped.secret);
    return true;
  }

  Region::Slot& slot(std::uint64_t generation) {
    return region_.slots[generation % Region::kSlots];
  }

  Region& region_;
  ThreadCached<Keys> cached_;
  std::mutex latest_mutex_;
  std::shared_ptr<const Keys> latest_;
};

}  // namespace

Result<void> init_shared_signer(void* region, std::int64_t period_ms) {
  if (period_ms <= 0)
    return Error(ErrorKind::configuration,
                 "hadoop.kms.authentication.token.validity must be more than 0");
  Region& shared = *static_cast<Region*>(region);
  if (prepared(shared)) {
    shared.period_ms.store(period_ms);
    return {};
  }
  OPENSSL_cleanse(region, kSharedSignerBytes);
  Region& fresh = *new (region) Region();
  // Generation 1 is the first; there is none before it.
  Region::Slot& first = fresh.slots[1];
  KMS_TRY(fill_private(first.secret));
  first.born_ms = steady_ms();
  if (!init_mutex(fresh.mutex))
    return Error(ErrorKind::internal, "A robust mutex shared by processes cannot be made");
  fresh.layout = Region::kLayout;
  fresh.bytes = sizeof(Region);
  fresh.period_ms.store(period_ms);
  fresh.generation.store(1);
  fresh.magic = Region::kMagic;
  return {};
}

std::unique_ptr<SignerSecrets> make_shared_signer(void* region) {
  return std::make_unique<SharedSigner>(*static_cast<Region*>(region));
}

}  // namespace kms
