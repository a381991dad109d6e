// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "limits/rules.h"
#include "limits/table.h"

namespace kms {

// Rate limits, which refuse, and alarms, which only say so, over all processes of one KMS.
// Thread-safe; takes no lock.
class Limits {
 public:
  // region: prepared by LimitTable::prepare. Names in rules are few; the table holds the users and
  // keys.
  Limits(std::vector<LimitRule> rules, std::vector<AlarmRule> alarms, void* region, Logger& logger);

  struct Refusal {
    const LimitRule* rule;
    std::int64_t retry_after_s;  // rounded up, at least 1
  };

  // What one request has taken; it gets it back when a later rule refuses.
  class Charges {
   public:
    void give_back() noexcept;

   private:
    friend class Limits;
    struct Charge {
      LimitTable::Entry* entry;
      Bucket bucket;
      std::int64_t cost;
    };
    std::array<Charge, 2 * kMostLimitRules> charges_;
    std::size_t count_ = 0;
  };

  // Counts cost operations of a user or on a key against all rules for them. On a refusal nothing
  // of charges stays taken. now: steady_ns().
  std::optional<Refusal> charge(LimitScope scope, LimitClass what, std::string_view name,
                                std::int64_t cost, std::int64_t now, Charges& charges);
  bool counts(LimitScope scope, LimitClass what) const noexcept;

  // A DEK has left: looks whether it was one too many for an alarm.
  void decrypted(std::string_view user, std::string_view key, std::int64_t now);
  bool has_alarms() const noexcept { return !alarms_.empty(); }

  struct Totals {
    std::uint64_t refused_user, refused_key, alarms_user, alarms_key, shared;
  };
  Totals totals() const noexcept;  // of all processes, since httpd was started
  const std::vector<LimitRule>& rules() const noexcept { return rules_; }
  const std::vector<AlarmRule>& alarms() const noexcept { return alarms_; }

 private:
  void say(LogLevel level, std::string_view id, std::string text, std::int64_t now);
  void note_shared(const LimitTable::Entry& entry, std::int64_t now);

  const std::vector<LimitRule> rules_;
  const std::vector<AlarmRule> alarms_;
  mutable LimitTable table_;
  Logger& logger_;
};

}  // namespace kms
