// SPDX-License-Identifier: Apache-2.0
#include "audit/denials.h"

#include <array>
#include <cstring>
#include <new>

#include "audit/state.h"
#include "core/clock.h"

namespace kms {
namespace {

constexpr std::uint64_t kMagic = 0x6b6d732d64656e79u;  // "kms-deny"

// Text of a fixed room. A character that does not fit as a whole is left out.
template <std::size_t kRoom>
struct Text {
  std::uint16_t length;
  char bytes[kRoom];

  void set(std::string_view text) noexcept {
    std::size_t size = text.size();
    if (size > kRoom) {
      size = kRoom;
      while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
    }
    if (size > 0) std::memcpy(bytes, text.data(), size);
    length = static_cast<std::uint16_t>(size);
  }
  std::string get() const { return std::string(bytes, length); }
};

bool is_denial(const AuditEvent& event) {
  return event.status == AuditStatus::unauthorized ||
         event.status == AuditStatus::unauthenticated ||
         (event.status == AuditStatus::error && event.extra.starts_with(kRateLimitMark));
}

}  // namespace

struct DenialRing::Entry {
  std::int64_t time_ms;
  AuditStatus status;
  Text<160> user, key;
  Text<32> op;
  Text<200> reason;
  Text<64> remote_address;
};

struct DenialRing::Region {
  std::uint64_t magic;  // written last
  SharedMutex lock;     // guards what follows
  std::uint64_t count;
  std::array<Entry, kEntries> entries;
};

const std::size_t DenialRing::kBytes = sizeof(DenialRing::Region);

void DenialRing::prepare(void* memory) {
  if (static_cast<Region*>(memory)->magic == kMagic) return;
  auto* region = new (memory) Region;
  region->count = 0;
  region->magic = kMagic;
}

DenialRing::DenialRing(void* region) : region_(*static_cast<Region*>(region)) {}

void DenialRing::look_at(const AuditEvent* events, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i)
    if (is_denial(events[i])) add(events[i]);
}

// count moves last: what a process that died left half-written is overwritten.
void DenialRing::add(const AuditEvent& event) noexcept {
  const SharedLock lock(region_.lock);
  Entry& entry = region_.entries[region_.count % kEntries];
  entry.time_ms = now_ms();
  entry.status = event.status;
  entry.user.set(event.user);
  entry.key.set(event.key.value_or(""));
  entry.op.set(event.op);
  entry.reason.set(event.extra);
  entry.remote_address.set(event.remote_address);
  ++region_.count;
}

std::vector<DenialRing::Denial> DenialRing::last() const {
  std::vector<Denial> denials;
  denials.reserve(kEntries);
  const SharedLock lock(region_.lock);
  const std::uint64_t count = region_.count;
  for (std::uint64_t i = 0; i < kEntries && i < count; ++i) {
    const Entry& entry = region_.entries[(count - 1 - i) % kEntries];
    denials.push_back({entry.time_ms, entry.status, entry.user.get(), entry.op.get(),
                       entry.key.get(), entry.reason.get(), entry.remote_address.get()});
  }
  return denials;
}

std::uint64_t DenialRing::count() const {
  const SharedLock lock(region_.lock);
  return region_.count;
}

}  // namespace kms
