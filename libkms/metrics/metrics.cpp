// SPDX-License-Identifier: Apache-2.0
#include "metrics/metrics.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <new>

#include "core/clock.h"

namespace kms {
namespace {

constexpr std::size_t kShards = 16;
constexpr std::size_t kPlaces = 512;  // processes of one httpd that can be told apart
constexpr std::size_t kLine = 64;
constexpr std::int64_t kTickMs = 5000;
constexpr std::uint64_t kMagic = 0x6b6d732d6d657472u;  // "kms-metr"

using Cell = std::atomic<std::uint64_t>;
static_assert(Cell::is_always_lock_free && sizeof(Cell) == sizeof(std::uint64_t));

// Threads of all processes spread over the shards as they come.
std::size_t shard_number() noexcept {
  static std::atomic<std::size_t> next{static_cast<std::size_t>(getpid())};
  static thread_local const std::size_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine % kShards;
}

bool alive(pid_t pid) {
  return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

struct Rates {
  std::atomic<std::uint64_t> last;  // the count at the last tick
  std::atomic<double> minutes[3];   // events in a second, over 1, 5 and 15
};
constexpr double kMinutes[3] = {1, 5, 15};

}  // namespace

struct alignas(kLine) Metrics::Shard {
  std::array<Cell, cells::kCount> cells;
};

// Facts of a process. Whoever finds the process dead may take the place over.
struct alignas(kLine) Metrics::Place {
  std::atomic<pid_t> pid;
  std::atomic<std::int64_t> in_flight;
  std::atomic<std::int64_t> resident_bytes, open_fds, threads, cpu_us;
};

struct Metrics::Region {
  std::atomic<std::uint64_t> magic;  // written last
  std::atomic<std::int64_t> start_ms, start_steady_ms;
  std::atomic<std::int64_t> next_tick_ms;
  std::atomic<bool> ticked;  // the first tick sets the rates, later ones move them
  std::atomic<std::int64_t> in_flight_max, longest_us;
  std::atomic<std::int64_t> gone_cpu_us;  // of processes whose place was taken over
  std::array<Rates, kJavaMeterNames.size()> rates;
  std::array<Shard, kShards> shards;
  std::array<Place, kPlaces> places;
};

std::size_t Metrics::region_bytes() {
  return sizeof(Region);
}

std::unique_ptr<Metrics> Metrics::open(void* memory) {
  std::unique_ptr<std::byte[]> own;
  if (memory == nullptr) {
    std::size_t room = sizeof(Region) + kLine;
    own = std::make_unique<std::byte[]>(room);
    memory = own.get();
    memory = std::align(kLine, sizeof(Region), memory, room);
  }
  auto* region = static_cast<Region*>(memory);
  if (region->magic.load(std::memory_order_acquire) != kMagic) {
    region = new (memory) Region();
    region->start_ms = now_ms();
    region->start_steady_ms = steady_ms();
    region->next_tick_ms = region->start_steady_ms + kTickMs;
    region->magic.store(kMagic, std::memory_order_release);
  }
  return std::unique_ptr<Metrics>(new Metrics(*region, std::move(own)));
}

Metrics::Metrics(Region& region, std::unique_ptr<std::byte[]> own)
    : own_(std::move(own)), region_(region) {}

Metrics::~Metrics() = default;

void Metrics::attach() noexcept {
  const pid_t mine = getpid();
  for (Place& place : region_.places) {
    pid_t owner = place.pid.load(std::memory_order_relaxed);
    if (owner != mine && alive(owner)) continue;
    if (!place.pid.compare_exchange_strong(owner, mine)) continue;
    region_.gone_cpu_us.fetch_add(place.cpu_us.exchange(0));
    place.in_flight = 0;
    place.resident_bytes = place.open_fds = place.threads = 0;
    place_ = &place;
    tick(steady_ms());
    return;
  }
}

void Metrics::detach() noexcept {
  if (place_ == nullptr) return;
  place_->cpu_us = own_process_facts().cpu_us;
  place_->pid = 0;
  place_ = nullptr;
}

Metrics::Shard& Metrics::shard() noexcept {
  return region_.shards[shard_number()];
}

void Metrics::count(std::size_t cell, std::uint64_t by) noexcept {
  shard().cells[cell].fetch_add(by, std::memory_order_relaxed);
}

void Metrics::count_duration(std::size_t histogram, std::int64_t us) noexcept {
  us = std::max<std::int64_t>(us, 0);
  Shard& mine = shard();
  mine.cells[histogram + bucket_of(us)].fetch_add(1, std::memory_order_relaxed);
  mine.cells[histogram + kBuckets + 1].fetch_add(static_cast<std::uint64_t>(us),
                                                 std::memory_order_relaxed);
}

void Metrics::count_request(MetricOp op, MetricResult result, std::int64_t us) noexcept {
  count(cells::request(op, result));
  count_duration(cells::duration(op), us);
}

void Metrics::count_response(int status, bool unset, std::uint64_t bytes,
                             std::int64_t us) noexcept {
  us = std::max<std::int64_t>(us, 0);
  if (status >= 100 && status < 600)
    count(cells::kResponses + static_cast<std::size_t>(status / 100 - 1));
  count(cells::kResponseBytes, bytes);
  count(cells::kHttpRequests);
  count(cells::kHttpUs, static_cast<std::uint64_t>(us));
  const auto tens = static_cast<std::uint64_t>(us / 10);
  count(cells::kHttpSquares, tens * tens);
  if (status == 401) mark(JavaMeter::unauthenticated);
  if (unset || (status != 200 && status != 201 && status != 401)) mark(JavaMeter::invalid);
  std::int64_t longest = region_.longest_us.load(std::memory_order_relaxed);
  while (us > longest && !region_.longest_us.compare_exchange_weak(longest, us)) {
  }
}

void Metrics::enter() noexcept {
  if (place_ != nullptr) place_->in_flight.fetch_add(1, std::memory_order_relaxed);
}

void Metrics::leave() noexcept {
  if (place_ != nullptr) place_->in_flight.fetch_sub(1, std::memory_order_relaxed);
}

void Metrics::tick(std::int64_t now_steady_ms) noexcept {
  if (place_ != nullptr) {
    const ProcessFacts facts = own_process_facts();
    place_->resident_bytes = facts.resident_bytes;
    place_->open_fds = facts.open_fds;
    place_->threads = facts.threads;
    place_->cpu_us = facts.cpu_us;
  }
  const std::int64_t in_flight = processes().in_flight;
  std::int64_t most = region_.in_flight_max.load();
  while (in_flight > most && !region_.in_flight_max.compare_exchange_weak(most, in_flight)) {
  }
  std::int64_t due = region_.next_tick_ms.load();
  if (now_steady_ms < due) return;
  // One process wins; when it dies here, one tick is lost and the next one is anybody's.
  const std::int64_t next = due + (1 + (now_steady_ms - due) / kTickMs) * kTickMs;
  if (region_.next_tick_ms.compare_exchange_strong(due, next)) move_rates(now_steady_ms, due);
}

// As Dropwizard's EWMA: alpha = 1 - exp(-5 s / period); ticks that nobody made are made up for,
// with nothing in them.
void Metrics::move_rates(std::int64_t now_steady_ms, std::int64_t due) noexcept {
  const auto missed = static_cast<double>((now_steady_ms - due) / kTickMs);
  const bool first = !region_.ticked.exchange(true);
  const MetricTotals sums = totals();
  for (std::size_t m = 0; m < region_.rates.size(); ++m) {
    Rates& rates = region_.rates[m];
    const std::uint64_t total = sums[cells::kMeters + m];
    const double now = static_cast<double>(total - rates.last.exchange(total)) / (kTickMs / 1000.0);
    for (std::size_t i = 0; i < 3; ++i) {
      const double keep = std::exp(-(kTickMs / 1000.0) / 60 / kMinutes[i]);
      const double before = rates.minutes[i].load();
      const double after = first ? now : before + (1 - keep) * (now - before);
      rates.minutes[i] = after * std::pow(keep, missed);
    }
  }
}

MetricTotals Metrics::totals() const {
  MetricTotals sums{};
  for (const Shard& shard : region_.shards)
    for (std::size_t i = 0; i < cells::kCount; ++i)
      sums[i] += shard.cells[i].load(std::memory_order_relaxed);
  return sums;
}

MeterRates Metrics::meter(JavaMeter meter, std::int64_t now_steady_ms) const {
  const std::size_t m = cells::at(meter);
  MeterRates out;
  for (const Shard& shard : region_.shards)
    out.count += shard.cells[cells::kMeters + m].load(std::memory_order_relaxed);
  const std::int64_t age = uptime_ms(now_steady_ms);
  if (age > 0) out.mean = static_cast<double>(out.count) * 1000 / static_cast<double>(age);
  const Rates& rates = region_.rates[m];
  out.one_minute = rates.minutes[0];
  out.five_minutes = rates.minutes[1];
  out.fifteen_minutes = rates.minutes[2];
  return out;
}

ProcessTotals Metrics::processes() const {
  ProcessTotals sum;
  sum.cpu_us = region_.gone_cpu_us;
  for (const Place& place : region_.places) {
    sum.cpu_us += place.cpu_us;
    if (!alive(place.pid)) continue;
    ++sum.processes;
    sum.in_flight += place.in_flight;
    sum.resident_bytes += place.resident_bytes;
    sum.open_fds += place.open_fds;
    sum.threads += place.threads;
  }
  sum.in_flight_max = std::max(region_.in_flight_max.load(), sum.in_flight);
  return sum;
}

std::int64_t Metrics::start_ms() const noexcept {
  return region_.start_ms;
}

std::int64_t Metrics::uptime_ms(std::int64_t now_steady_ms) const noexcept {
  return now_steady_ms - region_.start_steady_ms;
}

std::int64_t Metrics::longest_us() const noexcept {
  return region_.longest_us;
}

}  // namespace kms
