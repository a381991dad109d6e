// SPDX-License-Identifier: Apache-2.0
// Opening the store, and its operations.
#include "auth/tokens/file_token_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "auth/tokens/file_store.h"
#include "crypto/random.h"

namespace kms {
namespace tokens {
namespace {

// Java's are of 8 bytes, which who has a token could search through without asking anybody.
constexpr std::size_t kKeyBytes = 32;
constexpr int kPollWaitMs = 20;

Error not_open(const std::string& path) {
  return Error(ErrorKind::unavailable, "The token journal " + path + " is not open");
}

// A key that a wrong clock has made for a far future is none to go by once the clock is right.
bool is_current(const MasterKey& key, std::int64_t now_ms, const KeyPolicy& policy) {
  const std::int64_t life = key.expires_ms - now_ms;
  return life >= policy.max_lifetime_ms &&
         life <= policy.update_interval_ms + 2 * policy.max_lifetime_ms;
}

MasterKeyPtr newest_current(const TokenTable& table, std::int64_t now_ms, const KeyPolicy& policy) {
  MasterKeyPtr best;
  for (const auto& [id, key] : table.keys())
    if (is_current(*key, now_ms, policy) && (best == nullptr || is_after(id, best->id))) best = key;
  return best;
}

std::int32_t next_key_id(const TokenTable& table) {
  std::int32_t last = 0;
  for (const auto& [id, key] : table.keys())
    if (is_after(id, last)) last = id;
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(last) + 1);
}

}  // namespace

FileTokenStore::FileTokenStore(FileTokenStoreOptions options, Logger& logger)
    : options_(std::move(options)),
      logger_(logger),
      lock_({hidden_beside(options_.path, ".lock"),
             {options_.owner_uid, options_.owner_gid},
             options_.lock_timeout_ms,
             "token journal"},
            [this] {
              log(LogLevel::warn, "KMS0327",
                  "the lock file was removed, replaced or cut while in use; it was opened anew");
              lock_lost_ = false;
            }) {}

Result<void> FileTokenStore::load() {
  WriteLock::Turn turn(lock_);
  KMS_TRY(turn.take());
  const std::lock_guard hold(file_mutex_);
  KMS_TRY(settle(turn));
  compact(turn);
  log(LogLevel::info, "KMS0320",
      std::to_string(table_.size()) + " delegation tokens and " +
          std::to_string(table_.keys().size()) + " master keys are valid");
  return {};
}

// What every call but the hot path does: log a failure once, and its end.
Error FileTokenStore::failed(const Error& error) noexcept {
  writing_.failed("the last change of the token journal failed");
  if (!failing_.exchange(true)) log(LogLevel::error, "KMS0324", error.message);
  return Error(ErrorKind::unavailable, error.message);
}

void FileTokenStore::succeeded() noexcept {
  writing_.good();
  if (failing_.exchange(false)) log(LogLevel::notice, "KMS0325", "usable again");
}

Result<void> FileTokenStore::attach_now() {
  KMS_TRY(lock_.open());
  WriteLock::Turn turn(lock_);
  KMS_TRY(turn.take());
  const std::lock_guard hold(file_mutex_);
  KMS_TRY(settle(turn));
  attached_ = true;
  return {};
}

Result<void> FileTokenStore::attach() {
  auto done = attach_now();
  if (done.ok()) return done;
  reading_.set(HealthState::failing, "the token journal cannot be opened; tokens are refused");
  return failed(done.error());
}

Health FileTokenStore::condition() const noexcept {
  const Health reading = reading_.read();
  return reading.state != HealthState::good ? reading : writing_.read();
}

// Whether something is not as it is after a commit. A writer at work makes it look so for a moment,
// hence the two polls.
bool FileTokenStore::needs_care() {
  const std::lock_guard hold(file_mutex_);
  if (!catch_up().ok()) {
    reading_.set(HealthState::failing, "the token journal cannot be read; tokens are refused");
    return true;
  }
  reading_.good();
  if (suspect_) return true;
  const auto size = file_->size();
  const bool odd = !size.ok() || *size != length_ || !file_->is_at(options_.path);
  return (std::exchange(was_odd_, odd) && odd) || mostly_garbage();
}

void FileTokenStore::poll() noexcept {
  try {
    if (!attached_) {
      if (attach_now().ok()) {
        reading_.good();
        succeeded();
      }
      return;
    }
    auto checked = lock_.poll();
    if (!checked.ok() && !lock_lost_.exchange(true))
      log(LogLevel::error, "KMS0328", checked.error().message);
    if (!needs_care()) return;
    WriteLock::Turn turn(lock_, kPollWaitMs);
    if (!turn.take().ok()) return;  // the next poll will do
    const std::lock_guard hold(file_mutex_);
    if (auto settled = settle(turn); !settled.ok()) {
      (void)failed(settled.error());
      return;
    }
    // What a failed append left is cut off, which needs no room; that the next one works it does
    // not show.
    if (!append_failed_) succeeded();
    compact(turn);
  } catch (const std::exception& e) {
    log(LogLevel::error, "KMS0329", e.what());
  }
}

// The hot path: a shared lock, a load and a comparison. The generation is read with the lock held,
// so that a change by this process is not seen without its number.
template <class Look>
auto FileTokenStore::look_up(Look look)
    -> Result<decltype(look(std::declval<const TokenTable&>()))> {
  {
    const std::shared_lock hold(table_mutex_);
    if (seen_ == lock_.generation().load() && attached_) return look(table_);
  }
  if (!attached_) return not_open(options_.path);
  const std::lock_guard file(file_mutex_);
  if (auto done = catch_up(); !done.ok()) return failed(done.error());
  const std::shared_lock hold(table_mutex_);
  return look(table_);
}

Result<void> FileTokenStore::commit(const Decide& decide) {
  if (!attached_) return not_open(options_.path);
  WriteLock::Turn turn(lock_);
  if (auto taken = turn.take(); !taken.ok()) return failed(taken.error());
  const std::lock_guard hold(file_mutex_);
  if (auto settled = settle(turn); !settled.ok()) return failed(settled.error());
  // Nobody else changes the table while file_mutex_ is held.
  auto records = decide(table_);
  if (!records.ok()) return std::move(records).error();
  if (records->empty()) return {};
  auto appended = append(std::move(*records));
  append_failed_ = !appended.ok();
  if (append_failed_) return failed(appended.error());
  succeeded();
  return {};
}

// lock_ and file_mutex_ are held, and all is settled.
Result<void> FileTokenStore::append(std::vector<Record> records) {
  std::vector<Secret> frames;
  std::size_t size = 0;
  for (const Record& record : records) size += frames.emplace_back(encode_record(record)).size();
  Secret bytes(size);
  std::uint8_t* to = bytes.data();
  for (const Secret& frame : frames) to = std::copy(frame.view().begin(), frame.view().end(), to);
  bool synced = true;
  if (auto done = file_->append(length_, bytes.view(), synced); !done.ok()) {
    if (synced) return done;
    suspect_ = true;
    return Error(ErrorKind::io, done.error().message +
                                    "; whether the change is there after a power cut is unknown");
  }
  const std::unique_lock hold(table_mutex_);
  for (Record& record : records) table_.apply(std::move(record));
  length_ += size;
  publish();
  return {};
}

Result<MasterKeyPtr> FileTokenStore::current_key(std::int64_t now_ms, const KeyPolicy& policy) {
  const auto current = [&](const TokenTable& table) {
    return newest_current(table, now_ms, policy);
  };
  auto found = look_up(current);
  if (!found.ok() || *found != nullptr) return found;
  KMS_TRY(commit([&](const TokenTable& table) -> Result<std::vector<Record>> {
    std::vector<Record> records;
    if (current(table) != nullptr) return records;  // another one was faster
    Secret secret(kKeyBytes);
    KMS_TRY(fill_private({secret.data(), secret.size()}));
    records.push_back(
        KeyAdded{{next_key_id(table), now_ms + policy.update_interval_ms + policy.max_lifetime_ms,
                  std::move(secret)}});
    records.push_back(KeysDropped{now_ms});
    return records;
  }));
  return look_up(current);
}

Result<MasterKeyPtr> FileTokenStore::key(std::int32_t id) {
  return look_up([&](const TokenTable& table) {
    const auto it = table.keys().find(id);
    return it == table.keys().end() ? MasterKeyPtr() : it->second;
  });
}

// Counted in the lock file, so that nothing need be written for a number. What was counted and not
// used may come again after a restart; what a token has does not, since the journal has it.
Result<std::int32_t> FileTokenStore::next_sequence() {
  const auto last = look_up([](const TokenTable& table) { return table.sequence(); });
  if (!last.ok()) return last.error();
  std::atomic<std::uint64_t>& counter = lock_.counter();
  for (std::uint64_t now = counter.load();;) {
    const auto counted = static_cast<std::int32_t>(now);
    const std::int32_t base = is_after(*last, counted) ? *last : counted;
    const std::uint32_t next = static_cast<std::uint32_t>(base) + 1;
    if (counter.compare_exchange_weak(now, next)) return static_cast<std::int32_t>(next);
  }
}

Result<void> FileTokenStore::add(TokenRecord token) {
  if (record_size(token) > kMaxPayload)
    return Error(ErrorKind::invalid_argument, "The names in the token are too long");
  return commit([&](const TokenTable& table) -> Result<std::vector<Record>> {
    // The lock file was taken away, and two processes counted on their own.
    if (table.has_sequence(token.identifier.sequence))
      return Error(ErrorKind::unavailable,
                   "Another token has got the same number meanwhile; please try again");
    std::vector<Record> records;
    records.push_back(TokenAdded{std::move(token)});
    return records;
  });
}

Result<TokenPtr> FileTokenStore::find(const TokenIdentifier& identifier) {
  return look_up([&](const TokenTable& table) { return table.find(identifier); });
}

Result<bool> FileTokenStore::renew(const TokenIdentifier& identifier, std::int64_t renew_ms) {
  bool found = false;
  KMS_TRY(commit([&](const TokenTable& table) {
    std::vector<Record> records;
    if ((found = table.find(identifier) != nullptr))
      records.push_back(TokenRenewed{identifier, renew_ms});
    return records;
  }));
  return found;
}

Result<bool> FileTokenStore::remove(const TokenIdentifier& identifier) {
  bool found = false;
  KMS_TRY(commit([&](const TokenTable& table) {
    std::vector<Record> records;
    if ((found = table.find(identifier) != nullptr)) records.push_back(TokenRemoved{identifier});
    return records;
  }));
  return found;
}

Result<std::size_t> FileTokenStore::purge(std::int64_t now_ms) {
  const auto any = look_up([&](const TokenTable& table) { return table.has_expired(now_ms); });
  if (!any.ok()) return any.error();
  std::size_t count = 0;
  if (!*any) return count;
  KMS_TRY(commit([&](const TokenTable& table) {
    std::vector<Record> records;
    if ((count = table.count_expired(now_ms)) > 0) records.push_back(TokensPurged{now_ms});
    return records;
  }));
  return count;
}

void FileTokenStore::log(LogLevel level, std::string_view id, std::string_view text) noexcept {
  try {
    logger_.log(level, id, options_.path + ": " + std::string(text));
  } catch (const std::exception&) {
    logger_.log(level, id, text);
  }
}

}  // namespace tokens

Result<std::unique_ptr<TokenStore>> open_file_token_store(FileTokenStoreOptions options,
                                                          Logger& logger, bool check_only) {
  const std::string given = options.path;
  const auto wrong = [&](const std::string& text) {
    return Error(ErrorKind::configuration, "token journal " + given + ": " + text);
  };
  if (given.empty() || given[0] != '/') return wrong("the path is not absolute");
  struct stat st;
  const std::string directory = directory_of(given);
  if (::stat(directory.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
    return wrong("the directory " + directory + " does not exist");
  options.path = real_path(given);
  if (::stat(options.path.c_str(), &st) == 0) {
    KMS_TRY([&]() -> Result<void> {
      if (!S_ISREG(st.st_mode)) return wrong("this is no file");
      const auto file = tokens::JournalFile::open(options.path);
      if (!file.ok()) return wrong(file.error().message);
      const auto ours = tokens::is_journal(*file);
      if (!ours.ok()) return wrong(ours.error().message);
      if (!*ours) return wrong("this is no journal of tokens, and is not touched");
      return {};
    }());
    if ((st.st_mode & 077) != 0)
      logger.log(LogLevel::warn, "KMS0326",
                 given + ": others than its owner can read the file, which holds secrets");
  }
  auto store = std::make_unique<tokens::FileTokenStore>(std::move(options), logger);
  if (!check_only) {
    if (auto loaded = store->load(); !loaded.ok()) return wrong(loaded.error().message);
  }
  return std::unique_ptr<TokenStore>(std::move(store));
}

}  // namespace kms
