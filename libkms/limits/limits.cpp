// SPDX-License-Identifier: Apache-2.0
#include "limits/limits.h"

#include <algorithm>
#include <utility>

namespace kms {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// Between two lines about the same user or key.
constexpr std::int64_t kPause = 60 * kSecond;
// Lines about all of them together: 30 at once, one each two seconds.
constexpr Bucket kLines{2 * kSecond, 30};

Bucket bucket_of(const LimitRule& rule) {
  return {rule.period_s * kSecond / rule.rate, rule.burst};
}

std::int64_t whole_seconds(std::int64_t ns) {
  return std::max<std::int64_t>(1, (ns + kSecond - 1) / kSecond);
}

std::string quoted(std::string_view name) {
  constexpr std::size_t kMost = 200;
  std::string text = "'";
  text += name.substr(0, kMost);
  text += name.size() > kMost ? "...'" : "'";
  return text;
}

}  // namespace

Limits::Limits(std::vector<LimitRule> rules, std::vector<AlarmRule> alarms, void* region,
               Logger& logger)
    : rules_(std::move(rules)), alarms_(std::move(alarms)), table_(region), logger_(logger) {}

void Limits::Charges::give_back() noexcept {
  for (std::size_t i = 0; i < count_; ++i)
    kms::give_back(*charges_[i].entry, charges_[i].bucket, charges_[i].cost);
  count_ = 0;
}

bool Limits::counts(LimitScope scope, LimitClass what) const noexcept {
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const LimitRule& rule) { return rule.counts(scope, what); });
}

std::optional<Limits::Refusal> Limits::charge(LimitScope scope, LimitClass what,
                                              std::string_view name, std::int64_t cost,
                                              std::int64_t now, Charges& charges) {
  cost = std::clamp<std::int64_t>(cost, 1, kMostLimitCount);
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const LimitRule& rule = rules_[i];
    if (!rule.counts(scope, what)) continue;
    LimitTable::Entry& entry = table_.find({rule.tag, i}, name, now);
    note_shared(entry, now);
    const Bucket bucket = bucket_of(rule);
    const std::int64_t wait = take(entry, bucket, cost, now);
    if (wait == 0) {
      charges.charges_[charges.count_++] = {&entry, bucket, cost};
      continue;
    }
    charges.give_back();
    auto& counters = table_.counters();
    (scope == LimitScope::user ? counters.refused_user : counters.refused_key)
        .fetch_add(1, std::memory_order_relaxed);
    if (may_speak(entry.quiet_until, kPause, now))
      say(LogLevel::warn, "KMS0632",
          "The limit '" + rule.text + "' refuses requests of the " +
              std::string(limit_scope_name(scope)) + " " + quoted(name),
          now);
    return Refusal{&rule, whole_seconds(wait)};
  }
  return std::nullopt;
}

void Limits::decrypted(std::string_view user, std::string_view key, std::int64_t now) {
  for (std::size_t i = 0; i < alarms_.size(); ++i) {
    const AlarmRule& rule = alarms_[i];
    const bool by_user = rule.scope == LimitScope::user;
    LimitTable::Entry& entry =
        table_.find({rule.tag, kMostLimitRules + i}, by_user ? user : key, now);
    note_shared(entry, now);
    const std::int64_t counted = count(entry, rule.window_s * kSecond, now);
    if (counted <= rule.count) continue;
    if (!may_speak(entry.quiet_until, std::max(kPause, rule.window_s * kSecond), now)) continue;
    auto& counters = table_.counters();
    (by_user ? counters.alarms_user : counters.alarms_key).fetch_add(1, std::memory_order_relaxed);
    say(LogLevel::error, "KMS0630",
        "Decrypt alarm '" + rule.text + "': " + std::to_string(counted) + " decrypts " +
            (by_user ? "by the user " : "with the key ") + quoted(by_user ? user : key) +
            " within " + std::to_string(rule.window_s) + " s; the last one by " + quoted(user) +
            " with the key " + quoted(key),
        now);
  }
}

void Limits::note_shared(const LimitTable::Entry& entry, std::int64_t now) {
  if (!table_.is_shared(entry)) return;
  if (may_speak(table_.counters().shared_quiet_until, kPause, now))
    logger_.log(LogLevel::warn, "KMS0633",
                "More users or keys are active than the table of limits holds; those without a "
                "place of their own are counted together");
}

void Limits::say(LogLevel level, std::string_view id, std::string text, std::int64_t now) {
  auto& counters = table_.counters();
  std::int64_t seen = counters.lines_until.load(std::memory_order_relaxed);
  std::int64_t from = 0;
  do {
    from = std::max(seen, now);
    if (from + kLines.interval_ns > now + kLines.capacity * kLines.interval_ns) {
      counters.lines_left_out.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  } while (!counters.lines_until.compare_exchange_weak(seen, from + kLines.interval_ns,
                                                       std::memory_order_relaxed));
  if (const auto missing = counters.lines_left_out.exchange(0, std::memory_order_relaxed);
      missing > 0)
    text += "; " + std::to_string(missing) + " such lines before this one were left out";
  logger_.log(level, id, text);
}

Limits::Totals Limits::totals() const noexcept {
  const auto& counters = table_.counters();
  return {counters.refused_user.load(), counters.refused_key.load(), counters.alarms_user.load(),
          counters.alarms_key.load(), counters.shared.load()};
}

}  // namespace kms
