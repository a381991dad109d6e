// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/lazy_threads.h"
#include "core/log.h"
#include "core/result.h"

namespace kms {

using GroupList = std::shared_ptr<const std::vector<std::string>>;

// Groups of a user by short name: hadoop.user.group.static.mapping.overrides first, then the system
// (getpwnam_r, getgrouplist: files, SSSD, LDAP by NSS). Answers are kept for cache_s, an unknown
// user for negative_cache_s. Thread-safe.
//
// The system is asked by threads of this object only, which start with the first question: ask
// after the fork. No caller waits for a user whose groups are known: the old answer is good while a
// new one is fetched, up to ten times cache_s as in Hadoop. Where there is none, a caller waits for
// max_wait_ms at most after the question was put; after that the groups cannot be told until the
// answer is there.
class Groups {
 public:
  struct Options {
    std::string static_mapping = "dr.who=;";  // "u1=g1,g2;u2="
    std::int64_t cache_s = 300;
    std::int64_t negative_cache_s = 30;
    // For tests; the system's look-up when empty. An error or exception means "cannot tell", which
    // must deny.
    std::function<Result<std::vector<std::string>>(const std::string& user)> lookup;
    std::int64_t max_wait_ms = 5000;
  };
  // Errors (ErrorKind::configuration): a mapping that does not parse.
  static Result<std::unique_ptr<Groups>> create(Options options, Logger& logger);
  // Waits for look-ups that run.
  ~Groups() = default;

  // An unknown user has no groups. When the system cannot tell, that is logged and the answer is no
  // groups (a deny for every rule that grants to a group, CVE-2018-11767), not cached beyond the
  // negative time. Never null.
  GroupList of(std::string_view user);

  // The same, but an error (unavailable) when the system cannot tell. For rules that take away, a
  // blacklist: "no groups" would let in whom the rule shuts out.
  Result<GroupList> find(std::string_view user);

 private:
  struct Answer {
    GroupList groups;
    bool certain;
  };
  // All of it belongs to mutex_. Shared, so that it outlives its place in the cache.
  struct Entry {
    GroupList groups;  // null: never answered yet
    bool certain = true;
    std::int64_t expires_ms = 0;
    std::int64_t stale_ms = 0;  // until then better than waiting
    bool asking = false;
    std::int64_t asked_ms = 0;
    bool told = false;          // that somebody waited in vain for what is being asked
    std::uint64_t answers = 0;  // so far
  };
  using SharedEntry = std::shared_ptr<Entry>;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };

  Groups(Options options, Logger& logger) : options_(std::move(options)), logger_(logger) {}
  Answer answer(std::string_view user);
  SharedEntry entry_of(std::string_view user);
  Answer refuse(std::string_view user, std::unique_lock<std::mutex>& lock);
  bool ask(const SharedEntry& entry, std::string_view user, bool urgent);
  Answer wait_for(const SharedEntry& entry, std::string_view user,
                  std::unique_lock<std::mutex>& lock);
  void look_up(const std::string& user, Entry& entry) noexcept;
  void store(Entry& entry, Result<std::vector<std::string>> looked_up);
  void log_failure(std::string_view id, std::string_view user, std::string_view why) noexcept;
  void make_room(std::int64_t now);

  Options options_;
  Logger& logger_;
  std::map<std::string, GroupList, std::less<>> static_;
  std::mutex mutex_;
  std::condition_variable answered_;
  std::unordered_map<std::string, SharedEntry, Hash, std::equal_to<>> cache_;
  std::int64_t tell_refusal_ms_ = 0;
  // Ends before what its jobs use. A few, as one user may take the system seconds.
  LazyThreads threads_{4};
};

}  // namespace kms
