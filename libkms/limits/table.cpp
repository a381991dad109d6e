// SPDX-License-Identifier: Apache-2.0
#include "limits/table.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <memory>
#include <new>
#include <span>

#include "core/bytes.h"
#include "crypto/random.h"

namespace kms {
namespace {

constexpr std::uint64_t kMagic = 0x6b6d732d6c696d69u;  // "kms-limi"
constexpr std::size_t kKeyBytes = 16;

struct MacFree {
  void operator()(EVP_MAC* m) const { EVP_MAC_free(m); }
};
struct ContextFree {
  void operator()(EVP_MAC_CTX* c) const { EVP_MAC_CTX_free(c); }
};

// Fetched once for each thread, as that takes locks in libcrypto.
struct ThreadSipHash {
  // It spreads names and guards nothing, so a default of approved algorithms does not bind it.
  std::unique_ptr<EVP_MAC, MacFree> mac{EVP_MAC_fetch(nullptr, "SIPHASH", "-fips")};
  std::unique_ptr<EVP_MAC_CTX, ContextFree> context{mac ? EVP_MAC_CTX_new(mac.get()) : nullptr};
  ThreadSipHash() {
    std::size_t size = sizeof(std::uint64_t);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                 OSSL_PARAM_construct_end()};
    if (context && EVP_MAC_CTX_set_params(context.get(), params) != 1) context.reset();
  }
};

bool sip_hash(ByteView key, std::string_view tag, std::string_view name, std::uint64_t& out) {
  thread_local const ThreadSipHash hash;
  EVP_MAC_CTX* context = hash.context.get();
  unsigned char bytes[sizeof out];
  std::size_t written = 0;
  const auto add = [&](const void* data, std::size_t size) {
    return EVP_MAC_update(context, static_cast<const unsigned char*>(data), size) == 1;
  };
  // The NUL keeps tag and name apart.
  if (context == nullptr || EVP_MAC_init(context, key.data(), key.size(), nullptr) != 1 ||
      !add(tag.data(), tag.size()) || !add("", 1) || !add(name.data(), name.size()) ||
      EVP_MAC_final(context, bytes, &written, sizeof bytes) != 1 || written != sizeof bytes)
    return false;
  std::copy(std::begin(bytes), std::end(bytes), reinterpret_cast<unsigned char*>(&out));
  return true;
}

// A window's number and the counts of it and of the one before, in one word, so that they change
// together.
struct Window {
  static constexpr std::uint64_t kNumberBits = 20, kCountBits = 22;
  static constexpr std::uint64_t kMost = (std::uint64_t{1} << kCountBits) - 1;
  static constexpr std::uint64_t kNumbers = std::uint64_t{1} << kNumberBits;
  std::uint64_t number = 0, before = 0, now = 0;

  static Window unpack(std::uint64_t word) {
    return {word >> (2 * kCountBits), (word >> kCountBits) & kMost, word & kMost};
  }
  std::uint64_t pack() const { return (number << (2 * kCountBits)) | (before << kCountBits) | now; }
};

}  // namespace

struct LimitTable::Region {
  std::uint64_t magic;  // written last
  std::uint8_t key[kKeyBytes];
  Counters counters;
  alignas(64) std::array<Entry, kEntries> entries;
  std::array<Entry, kShared> shared;
};

const std::size_t LimitTable::kBytes = sizeof(LimitTable::Region);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

Result<void> LimitTable::prepare(void* memory) {
  auto* region = static_cast<Region*>(memory);
  std::uint64_t probe = 0;
  constexpr std::uint8_t kProbeKey[kKeyBytes] = {};
  if (!sip_hash(kProbeKey, "", "", probe))
    return Error(ErrorKind::internal, "OpenSSL offers no SipHash, which limits and alarms need");
  if (region->magic == kMagic) return {};
  // A zero-filled entry is an empty one.
  region = new (memory) Region;
  KMS_TRY(fill_private(region->key));
  region->magic = kMagic;
  return {};
}

LimitTable::LimitTable(void* region) : region_(*static_cast<Region*>(region)) {}

LimitTable::Counters& LimitTable::counters() noexcept {
  return region_.counters;
}

bool LimitTable::is_shared(const Entry& entry) const noexcept {
  return &entry >= region_.shared.data();  // they lie behind the others
}

std::uint64_t LimitTable::identity(std::string_view tag, std::string_view name) const noexcept {
  std::uint64_t id = 0;
  // Without memory for it all names are one: counted together, not left out.
  (void)sip_hash(region_.key, tag, name, id);
  return id == 0 ? 1 : id;  // 0 is an empty entry
}

// A name is looked for in all its places before one is taken. Two threads that meet here may give a
// name two places, or count an operation for a name that has just lost its place: that is one
// operation, once.
LimitTable::Entry& LimitTable::find(const Counted& counted, std::string_view name,
                                    std::int64_t now) noexcept {
  const std::uint64_t id = identity(counted.tag, name);
  const std::span<Entry, kWays> places(&region_.entries[(id % (kEntries / kWays)) * kWays], kWays);
  for (Entry& entry : places)
    if (entry.id.load(std::memory_order_acquire) == id) return entry;
  for (Entry& entry : places) {
    std::uint64_t other = entry.id.load(std::memory_order_acquire);
    if (other == id) return entry;
    if (entry.busy_until.load(std::memory_order_relaxed) > now ||
        entry.quiet_until.load(std::memory_order_relaxed) > now)
      continue;
    if (entry.id.compare_exchange_strong(other, id, std::memory_order_acq_rel)) {
      entry.window.store(0, std::memory_order_relaxed);
      return entry;
    }
    if (other == id) return entry;
  }
  region_.counters.shared.fetch_add(1, std::memory_order_relaxed);
  return region_.shared[counted.place % kShared];
}

std::int64_t take(LimitTable::Entry& entry, const Bucket& bucket, std::int64_t cost,
                  std::int64_t now) noexcept {
  const std::int64_t needed = std::min(cost, bucket.capacity) * bucket.interval_ns;
  const std::int64_t full = now + bucket.capacity * bucket.interval_ns;
  std::int64_t seen = entry.busy_until.load(std::memory_order_relaxed);
  while (true) {
    const std::int64_t from = std::max(seen, now);
    if (from + needed > full) return from + needed - full;
    if (entry.busy_until.compare_exchange_weak(seen, from + cost * bucket.interval_ns,
                                               std::memory_order_relaxed))
      return 0;
  }
}

void give_back(LimitTable::Entry& entry, const Bucket& bucket, std::int64_t cost) noexcept {
  entry.busy_until.fetch_sub(cost * bucket.interval_ns, std::memory_order_relaxed);
}

std::int64_t count(LimitTable::Entry& entry, std::int64_t window_ns, std::int64_t now) noexcept {
  const std::uint64_t number = static_cast<std::uint64_t>(now / window_ns) % Window::kNumbers;
  const std::int64_t inside = now % window_ns;
  std::uint64_t seen = entry.window.load(std::memory_order_relaxed);
  Window window;
  do {
    window = Window::unpack(seen);
    const std::uint64_t passed = (number - window.number) % Window::kNumbers;
    if (passed == 1)
      window = {number, window.now, 0};
    else if (passed != 0 && passed != Window::kNumbers - 1)  // that is a thread a little late
      window = {number, 0, 0};
    window.now = std::min(window.now + 1, Window::kMost);
  } while (!entry.window.compare_exchange_weak(seen, window.pack(), std::memory_order_relaxed));
  std::int64_t until = entry.busy_until.load(std::memory_order_relaxed);
  const std::int64_t matters = now - inside + 2 * window_ns;
  while (until < matters &&
         !entry.busy_until.compare_exchange_weak(until, matters, std::memory_order_relaxed)) {
  }
  const auto share = static_cast<double>(window_ns - inside) / static_cast<double>(window_ns);
  return static_cast<std::int64_t>(window.now) +
         static_cast<std::int64_t>(static_cast<double>(window.before) * share);
}

bool may_speak(std::atomic<std::int64_t>& quiet_until, std::int64_t pause_ns,
               std::int64_t now) noexcept {
  std::int64_t until = quiet_until.load(std::memory_order_relaxed);
  return until <= now &&
         quiet_until.compare_exchange_strong(until, now + pause_ns, std::memory_order_relaxed);
}

}  // namespace kms
