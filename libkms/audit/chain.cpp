// SPDX-License-Identifier: Apache-2.0
#include "audit/chain.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "audit/line.h"
#include "core/clock.h"
#include "core/hex.h"
#include "crypto/random.h"

namespace kms {
namespace {

constexpr std::int64_t kCheckpointMs = 10 * 60 * 1000;

}  // namespace

Result<std::unique_ptr<AuditChain>> AuditChain::create(std::shared_ptr<SharedAuditState> state,
                                                       AuditFormat format, Secret key,
                                                       std::string previous, char* carried) {
  std::uint8_t id[kChainIdSize / 2];
  KMS_TRY(fill_public(id));
  AuditState::Chain& chain = (*state)->chain;
  write_hex(id, chain.id);
  std::copy(kNoHash.begin(), kNoHash.end(), chain.links[0].hash);
  chain.holders = 1;
  return std::unique_ptr<AuditChain>(
      new AuditChain(std::move(state), format, std::move(key), std::move(previous), carried));
}

AuditChain::AuditChain(std::shared_ptr<SharedAuditState> state, AuditFormat format, Secret key,
                       std::string previous, char* carried)
    : state_(std::move(state)),
      shared_((*state_)->chain),
      format_(format),
      key_(std::move(key)),
      previous_(previous.empty() && carried != nullptr ? std::string(carried)
                                                       : std::move(previous)),
      carried_(carried),
      maker_(::getpid()) {}

std::string AuditChain::own_line(std::string_view op, std::string_view extra) const {
  AuditEvent event;
  event.op = op;
  event.extra = extra;
  std::string line;
  append_record(line, format_, event, now_ms(), Accesses());
  return line;
}

std::string AuditChain::first_line() const {
  return own_line(kChainStart, "Previous:" + (previous_.empty() ? "none" : previous_) +
                                   " Keyed:" + (key_.empty() ? "false" : "true") +
                                   ((*state_)->torn.load() ? " Torn:true" : ""));
}

Result<void> AuditChain::start(const Put& put) {
  return through({}, put);
}

Result<void> AuditChain::through(std::string_view lines, const Put& put) {
  const SharedLock lock(shared_.lock);
  thread_local std::string text;
  text.clear();
  const int current = shared_.current.load(std::memory_order_acquire);
  const AuditState::Chain::Link& last = shared_.links[current];
  AuditState::Chain::Link& next = shared_.links[1 - current];
  const bool resumes = shared_.unfinished.load(std::memory_order_relaxed);
  // What an interrupted write left may end in the middle of a line.
  if (resumes) (*state_)->torn.store(true, std::memory_order_relaxed);

  std::uint64_t number = last.number;
  ChainHash hash;
  std::copy_n(last.hash, hash.size(), hash.begin());
  auto mark = [&](std::string_view line) -> Result<void> {
    const std::size_t start = text.size();
    text += line;
    const bool goes_on = resumes && number == last.number;
    ++number;
    auto marked = append_chain_mark(text, start, format_, {shared_.id, sizeof shared_.id}, number,
                                    goes_on, text_of(hash), key_.view());
    if (!marked.ok()) return std::move(marked).error();
    hash = *marked;
    text += '\n';
    return {};
  };
  if (last.number == 0) {
    const std::string first = first_line();
    KMS_TRY(mark(std::string_view(first).substr(0, first.size() - 1)));
  }
  for (; !lines.empty(); lines.remove_prefix(lines.find('\n') + 1))
    KMS_TRY(mark(lines.substr(0, lines.find('\n'))));
  shared_.unfinished.store(true, std::memory_order_release);
  KMS_TRY(put(text));
  next.number = number;
  std::copy(hash.begin(), hash.end(), next.hash);
  shared_.current.store(1 - current, std::memory_order_release);
  shared_.unfinished.store(false, std::memory_order_release);
  return {};
}

void AuditChain::hold() {
  shared_.holders.fetch_add(1);
}

Result<void> AuditChain::release(const Put& put) {
  if (shared_.holders.fetch_sub(1) != 1) return {};
  return through(own_line(kChainEnd, {}), put);
}

Result<void> AuditChain::release_as_maker(const Put& put) {
  if (::getpid() != maker_) return {};
  if (carried_ != nullptr) {
    const SharedLock lock(shared_.lock);
    const std::string at = place();
    std::memcpy(carried_, at.c_str(), std::min(at.size() + 1, kCarriedBytes));
  }
  return release(put);
}

// Under the lock.
std::string AuditChain::place() const {
  const AuditState::Chain::Link& link = shared_.links[shared_.current.load()];
  std::string text(shared_.id, sizeof shared_.id);
  text.append(":").append(std::to_string(link.number)).append(":");
  return text.append(link.hash, sizeof link.hash);
}

void AuditChain::checkpoint(Logger& logger) {
  std::int64_t due = shared_.next_checkpoint_ms.load();
  const std::int64_t now = steady_ms();
  if (now < due || !shared_.next_checkpoint_ms.compare_exchange_strong(due, now + kCheckpointMs))
    return;
  std::string text;
  {
    const SharedLock lock(shared_.lock);
    const std::uint64_t number = shared_.links[shared_.current.load()].number;
    if (shared_.checkpoint_number.exchange(number) == number) return;
    text = place();
  }
  logger.log(LogLevel::notice, "KMS0404", "The audit chain is at " + text);
}

}  // namespace kms
