// SPDX-License-Identifier: Apache-2.0
#include "auth/groups.h"

#include <chrono>
#include <exception>
#include <utility>

#include "auth/system_groups.h"
#include "auth/text.h"
#include "core/clock.h"

namespace kms {
namespace {

// Under simple authentication anybody can make up names, so the cache has an end.
constexpr std::size_t kMaxCached = 10000;
constexpr std::size_t kMaxUserBytes = 1024;
// How many times cache_s an answer may be used while the system does not give a newer one.
constexpr std::int64_t kStaleFactor = 10;
constexpr std::int64_t kTellAgainMs = 10000;

const GroupList& no_groups() {
  static const GroupList none = std::make_shared<const std::vector<std::string>>();
  return none;
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

Groups::Answer Groups::answer(std::string_view user) {
  if (const auto fixed = static_.find(user); fixed != static_.end()) return {fixed->second, true};
  // A NUL would make the system look up another, shorter name.
  if (user.empty() || user.size() > kMaxUserBytes || user.find('\0') != std::string_view::npos)
    return {no_groups(), true};

  std::unique_lock lock(mutex_);
  const std::int64_t now = steady_ms();
  const auto it = cache_.find(user);
  if (it != cache_.end() && it->second->groups && now < it->second->expires_ms)
    return {it->second->groups, it->second->certain};

  const SharedEntry entry = it != cache_.end() ? it->second : entry_of(user);
  const bool old_will_do = entry && entry->groups && now < entry->stale_ms;
  if (!entry || (!entry->asking && !ask(entry, user, !old_will_do))) return refuse(user, lock);
  if (old_will_do) return {entry->groups, entry->certain};
  return wait_for(entry, user, lock);
}

// Nobody can be asked. Said now and then, as every request comes here then.
Groups::Answer Groups::refuse(std::string_view user, std::unique_lock<std::mutex>& lock) {
  const std::int64_t now = steady_ms();
  const bool tell = now >= tell_refusal_ms_;
  if (tell) tell_refusal_ms_ = now + kTellAgainMs;
  lock.unlock();
  if (tell)
    log_failure("KMS0212", user, "too many look-ups are under way, or no thread can be started");
  return {no_groups(), false};
}

// A new entry; null when the cache is full of questions.
Groups::SharedEntry Groups::entry_of(std::string_view user) {
  if (cache_.size() >= kMaxCached) make_room(steady_ms());
  if (cache_.size() >= kMaxCached) return nullptr;
  return cache_[std::string(user)] = std::make_shared<Entry>();
}

bool Groups::ask(const SharedEntry& entry, std::string_view user, bool urgent) {
  auto job = [this, entry, name = std::string(user)] { look_up(name, *entry); };
  if (!threads_.run(std::move(job), urgent)) return false;
  entry->asking = true;
  entry->asked_ms = steady_ms();
  entry->told = false;
  return true;
}

Groups::Answer Groups::wait_for(const SharedEntry& entry, std::string_view user,
                                std::unique_lock<std::mutex>& lock) {
  const std::uint64_t before = entry->answers;
  // Counted from the question: of those who come later nobody waits as long again.
  const std::int64_t left = entry->asked_ms + options_.max_wait_ms - steady_ms();
  const auto answered = [&] { return entry->answers != before; };
  if (answered_.wait_for(lock, std::chrono::milliseconds(left), answered))
    return {entry->groups, entry->certain};
  const bool told = std::exchange(entry->told, true);
  lock.unlock();
  if (!told) {
    log_failure("KMS0211", user,
                "no answer of the system within " + std::to_string(options_.max_wait_ms) + " ms");
  }
  return {no_groups(), false};
}

// On one of the threads.
void Groups::look_up(const std::string& user, Entry& entry) noexcept {
  try {
    auto looked_up = options_.lookup(user);
    if (!looked_up.ok()) log_failure("KMS0210", user, looked_up.error().message);
    const std::lock_guard lock(mutex_);
    store(entry, std::move(looked_up));
  } catch (const std::exception& e) {
    log_failure("KMS0213", user, e.what());
    const std::lock_guard lock(mutex_);
    entry.certain = false;
    entry.groups = no_groups();
    entry.expires_ms = entry.stale_ms = 0;
    entry.asking = false;
    ++entry.answers;
  }
  answered_.notify_all();
}

void Groups::store(Entry& entry, Result<std::vector<std::string>> looked_up) {
  const bool positive = looked_up.ok() && !looked_up->empty();
  GroupList groups =
      positive ? std::make_shared<const std::vector<std::string>>(std::move(looked_up).value())
               : no_groups();
  const std::int64_t now = steady_ms();
  entry.groups = std::move(groups);
  entry.certain = looked_up.ok();
  entry.expires_ms = now + 1000 * (positive ? options_.cache_s : options_.negative_cache_s);
  // "None" is never better than waiting: the user may be new.
  entry.stale_ms = positive ? now + 1000 * kStaleFactor * options_.cache_s : 0;
  entry.asking = false;
  ++entry.answers;
}

void Groups::log_failure(std::string_view id, std::string_view user,
                         std::string_view why) noexcept {
  try {
    logger_.log(LogLevel::error, id,
                "Groups of user '" + printable(user, 200) +
                    "' cannot be told, none are assumed: " + std::string(why));
  } catch (const std::exception&) {
    logger_.log(LogLevel::error, id, why);
  }
}

void Groups::make_room(std::int64_t now) {
  std::erase_if(cache_, [now](const auto& item) {
    return !item.second->asking && item.second->expires_ms <= now;
  });
  if (cache_.size() < kMaxCached) return;
  std::erase_if(cache_, [](const auto& item) { return !item.second->asking; });
}

}  // namespace kms
