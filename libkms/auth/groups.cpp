// SPDX-License-Identifier: Apache-2.0
#include "auth/groups.h"

#include <grp.h>
#include <pwd.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "auth/text.h"
#include "core/clock.h"

namespace kms {
namespace {

// Under simple authentication anybody can make up names, so the cache has an end.
constexpr std::size_t kMaxCached = 10000;
constexpr std::size_t kMaxUserBytes = 1024;
constexpr std::size_t kMaxNssBuffer = 16u << 20;
constexpr int kMaxGroups = 65536;  // NGROUPS_MAX of Linux

const GroupList& no_groups() {
  static const GroupList none = std::make_shared<const std::vector<std::string>>();
  return none;
}

std::string error_text(int code) {
  return std::generic_category().message(code);
}

// Calls get(buffer) with a growing buffer while it answers ERANGE.
template <class Get>
int with_buffer(std::vector<char>& buffer, Get get) {
  for (;;) {
    const int rc = get(buffer);
    if (rc == EINTR) continue;
    if (rc != ERANGE || buffer.size() >= kMaxNssBuffer) return rc;
    buffer.resize(buffer.size() * 2);
  }
}

Result<std::vector<gid_t>> gids_of(const std::string& user, gid_t primary) {
  std::vector<gid_t> gids(64);
  for (;;) {
    int n = static_cast<int>(gids.size());
    if (getgrouplist(user.c_str(), primary, gids.data(), &n) >= 0) {
      gids.resize(static_cast<std::size_t>(n));
      return gids;
    }
    if (gids.size() >= kMaxGroups)
      return Error(ErrorKind::unavailable, "more than " + std::to_string(kMaxGroups) + " groups");
    // Some systems say how many there are, others leave n as it was.
    gids.resize(std::min<std::size_t>(
        kMaxGroups, std::max(gids.size() * 2, static_cast<std::size_t>(std::max(n, 0)))));
  }
}

Result<std::vector<std::string>> system_groups(const std::string& user) {
  std::vector<char> buffer(4096);
  passwd entry{};
  passwd* found = nullptr;
  int rc = with_buffer(buffer, [&](std::vector<char>& b) {
    return getpwnam_r(user.c_str(), &entry, b.data(), b.size(), &found);
  });
  if (rc == ENOENT || rc == ESRCH || (rc == 0 && found == nullptr))
    return std::vector<std::string>{};  // unknown
  if (rc != 0) return Error(ErrorKind::unavailable, "getpwnam_r: " + error_text(rc));

  auto gids = gids_of(user, entry.pw_gid);
  if (!gids.ok()) return std::move(gids).error();
  std::vector<std::string> names;
  for (const gid_t gid : *gids) {
    group g{};
    group* named = nullptr;
    rc = with_buffer(buffer, [&](std::vector<char>& b) {
      return getgrgid_r(gid, &g, b.data(), b.size(), &named);
    });
    // A number without a name matches no rule. A failure may hide a name, so it counts as one.
    if (rc != 0 && rc != ENOENT && rc != ESRCH)
      return Error(ErrorKind::unavailable, "getgrgid_r: " + error_text(rc));
    if (rc == 0 && named != nullptr) names.emplace_back(named->gr_name);
  }
  return names;
}

Result<std::pair<std::string, GroupList>> parse_static_entry(std::string_view entry) {
  const std::size_t equals = entry.find('=');
  const std::string_view user = java_trim(entry.substr(0, equals));
  const std::string_view list =
      equals == std::string_view::npos ? std::string_view() : entry.substr(equals + 1);
  if (user.empty() || list.find('=') != std::string_view::npos) {
    return Error(ErrorKind::configuration, "hadoop.user.group.static.mapping.overrides: '" +
                                               printable(entry, 200) +
                                               "' is not of the form user=group1,group2");
  }
  return std::make_pair(std::string(user),
                        std::make_shared<const std::vector<std::string>>(split_list(list)));
}

}  // namespace

Result<std::unique_ptr<Groups>> Groups::create(Options options, Logger& logger) {
  if (!options.lookup) options.lookup = system_groups;
  std::unique_ptr<Groups> made(new Groups(std::move(options), logger));
  std::string_view rest = made->options_.static_mapping;
  while (!rest.empty()) {
    const std::size_t end = rest.find(';');
    const std::string_view entry = java_trim(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (entry.empty()) continue;
    auto parsed = parse_static_entry(entry);
    if (!parsed.ok()) return std::move(parsed).error();
    made->static_[parsed->first] = parsed->second;
  }
  return made;
}

GroupList Groups::of(std::string_view user) {
  return answer(user).groups;
}

Result<GroupList> Groups::find(std::string_view user) {
  Answer a = answer(user);
  if (!a.certain) return Error(ErrorKind::unavailable, "The groups of the user cannot be told");
  return std::move(a.groups);
}

// Ends a look-up of one user whatever happens, so that nobody waits for a thread that left by an
// exception. Held with the mutex locked.
class Groups::Refresh {
 public:
  Refresh(Groups& owner, Cached& entry) : owner_(owner), entry_(entry) { entry_.refreshing = true; }
  ~Refresh() {
    entry_.refreshing = false;
    owner_.refreshed_.notify_all();
  }
  Refresh(const Refresh&) = delete;
  Refresh& operator=(const Refresh&) = delete;

 private:
  Groups& owner_;
  Cached& entry_;
};

Groups::Answer Groups::answer(std::string_view user) {
  if (const auto fixed = static_.find(user); fixed != static_.end()) return {fixed->second, true};
  // A NUL would make the system look up another, shorter name.
  if (user.empty() || user.size() > kMaxUserBytes || user.find('\0') != std::string_view::npos)
    return {no_groups(), true};

  std::unique_lock lock(mutex_);
  for (;;) {
    const auto it = cache_.find(user);
    if (it == cache_.end()) break;
    const Cached& entry = it->second;
    const bool fresh = steady_ms() < entry.expires_ms;
    if (entry.groups && (fresh || entry.refreshing)) return {entry.groups, entry.certain};
    if (!entry.refreshing) break;
    refreshed_.wait(lock);
  }
  return ask(std::string(user), lock);
}

Groups::Answer Groups::ask(const std::string& user, std::unique_lock<std::mutex>& lock) {
  if (cache_.size() >= kMaxCached) make_room(steady_ms());
  // References into the map stay good: make_room leaves entries that are being refreshed.
  Cached& entry = cache_[user];
  const Refresh guard(*this, entry);

  lock.unlock();
  struct Relock {
    std::unique_lock<std::mutex>& lock;
    ~Relock() {
      if (!lock.owns_lock()) lock.lock();
    }
  } relock{lock};
  auto looked_up = options_.lookup(user);
  if (!looked_up.ok()) {
    logger_.log(LogLevel::error, "KMS0210",
                "Groups of user '" + printable(user, 200) +
                    "' cannot be told, none are assumed: " + looked_up.error().message);
  }
  lock.lock();

  entry.certain = looked_up.ok();
  const bool positive = looked_up.ok() && !looked_up->empty();
  entry.groups =
      positive ? std::make_shared<const std::vector<std::string>>(std::move(looked_up).value())
               : no_groups();
  entry.expires_ms = steady_ms() + 1000 * (positive ? options_.cache_s : options_.negative_cache_s);
  return {entry.groups, entry.certain};
}

void Groups::make_room(std::int64_t now) {
  std::erase_if(cache_, [now](const auto& item) {
    return !item.second.refreshing && item.second.expires_ms <= now;
  });
  if (cache_.size() < kMaxCached) return;
  std::erase_if(cache_, [](const auto& item) { return !item.second.refreshing; });
}

}  // namespace kms
