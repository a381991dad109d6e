// SPDX-License-Identifier: Apache-2.0
// Which snapshot is the current one, and how changes by others are noticed.
#include <unistd.h>

#include <exception>
#include <utility>

#include "keystore/jceks/store.h"

namespace kms::jceks {

namespace {

constexpr const char* kReadOnly =
    "the folder of the keystore cannot be written; keys are served read-only";

}  // namespace

std::string about(const std::string& path, std::string_view text) {
  return path + ": " + std::string(text);
}

JceksStore::JceksStore(JceksOptions options, Secret password, Logger& logger, SnapshotPtr first,
                       bool check_only)
    : options_(std::move(options)),
      password_(std::move(password)),
      logger_(logger),
      check_only_(check_only),
      lock_({hidden_beside(real_path(options_.path), ".lock"),
             {options_.owner_uid, options_.owner_gid},
             options_.lock_timeout_ms},
            [this] {
              log(LogLevel::warn, "KMS0112",
                  about(lock_.path(),
                        "the lock file was removed, replaced or cut while in use; it was opened "
                        "anew"));
              lock_lost_ = false;
              lock_health_.good();
            }),
      current_(std::move(first)),
      seen_generation_(lock_.generation()) {}

void JceksStore::log(LogLevel level, std::string_view id, std::string_view text) noexcept {
  logger_.log(level, id, text);
}

// The hot path: two loads and a comparison.
Result<const Snapshot*> JceksStore::snapshot() {
  const std::uint64_t now = generation().load(std::memory_order_acquire);
  if (const Snapshot* mine = cached_.get(now)) return mine;
  const std::lock_guard hold(state_mutex_);
  if (!refresh_locked())
    return Error(ErrorKind::unavailable,
                 "The keystore " + options_.path +
                     " was changed and cannot be read; its keys are refused until it is mended");
  return cached_.put(seen_generation_, current_);
}

// The generation is read before the file: a writer in between is seen the next time. False when
// somebody committed a change that cannot be read: what is in memory would be a lie then, and is
// not answered with. A file that was damaged without a commit leaves the last state true.
bool JceksStore::refresh_locked() {
  const std::uint64_t now = generation().load(std::memory_order_acquire);
  if (now == seen_generation_) return true;
  sync_with_file();
  const bool stale = vanished_ || damaged_;
  note_health(stale);
  if (!stale) seen_generation_ = now;
  return !stale;
}

// stale: somebody committed what cannot be read here.
void JceksStore::note_health(bool stale) noexcept {
  if (!vanished_ && !damaged_)
    file_health_.good();
  else if (stale)
    file_health_.set(HealthState::failing,
                     "the keystore was changed and cannot be read; keys are refused");
  else if (vanished_)
    file_health_.set(
        HealthState::degraded,
        "the keystore file has vanished; keys are served from memory, changes refused");
  else
    file_health_.set(HealthState::degraded,
                     "the keystore file cannot be read; its last good state is served, changes are "
                     "refused");
}

Health JceksStore::condition() const noexcept {
  for (const Health& part : {file_health_.read(), lock_health_.read()})
    if (part.state != HealthState::good) return part;
  return change_health_.read();
}

// Loads the file if it is another one than current_ was read from. Whatever goes wrong, the last
// good snapshot stays; poll() tries again.
void JceksStore::sync_with_file() {
  auto id = stat_file(options_.path);
  if (!id.ok()) return complain({}, id.error());
  if (*id == current_->file) {
    vanished_ = damaged_ = false;
    return;
  }
  auto file = id->exists ? load_file(options_.path) : Result<LoadedFile>(LoadedFile{});
  if (!file.ok()) return complain(*id, file.error());
  if (!file->id.exists) {
    if (!vanished_)
      log(LogLevel::error, "KMS0108",
          about(
              options_.path,
              "the keystore file has vanished; keys are served from memory, changes are refused"));
    vanished_ = true;
    return;
  }
  auto fresh = parse_snapshot(*file, password_, current_.get());
  if (!fresh.ok()) return complain(file->id, fresh.error());
  adopt(std::move(*fresh));
}

void JceksStore::adopt(SnapshotPtr fresh) {
  if (vanished_ || damaged_)
    log(LogLevel::notice, "KMS0109", about(options_.path, "the keystore file is usable again"));
  log(LogLevel::debug, "KMS0106",
      about(options_.path, "read anew: " + std::to_string(fresh->entries.size()) + " entries"));
  vanished_ = damaged_ = false;
  current_ = std::move(fresh);
}

void JceksStore::complain(const FileId& file, const Error& error) {
  if (!damaged_ || file != complained_about_)
    log(LogLevel::error, "KMS0107",
        about(options_.path,
              "the changed keystore file cannot be read; its last good state is "
              "served, changes are refused: " +
                  error.message));
  damaged_ = true;
  complained_about_ = file;
}

bool JceksStore::folder_writable() const {
  return ::access(directory_of(real_path(options_.path)).c_str(), W_OK) == 0;
}

Result<void> JceksStore::attach() {
  if (check_only_) return {};
  auto opened = lock_.open();
  if (!opened.ok()) {
    // On a read-only directory nobody can write through us, and others' changes are seen by poll().
    if (opened.error().kind != ErrorKind::io || folder_writable()) return opened;
    read_only_ = true;
    lock_health_.set(HealthState::degraded, kReadOnly);
    log(LogLevel::warn, "KMS0105",
        about(options_.path,
              "no lock file can be used in this directory, keys are served "
              "read-only: " +
                  opened.error().message));
  }
  const std::lock_guard hold(state_mutex_);
  const std::uint64_t now = generation().load(std::memory_order_acquire);
  sync_with_file();
  const bool stale = vanished_ || damaged_;
  if (!stale) seen_generation_ = now;
  note_health(stale && seen_generation_ != now);
  return {};
}

void JceksStore::poll_lock_file() {
  if (read_only_) {
    if (!lock_.open().ok()) return;  // still
    read_only_ = false;
    lock_health_.good();
    return;
  }
  auto checked = lock_.poll();
  if (checked.ok()) {
    lock_lost_ = false;
    // A file system turns read-only under us when its disk has errors.
    const bool closed = !folder_writable();
    if (closed)
      lock_health_.set(HealthState::degraded, kReadOnly);
    else
      lock_health_.good();
    if (std::exchange(folder_closed_, closed) && !closed) change_health_.good();
    return;
  }
  lock_health_.set(HealthState::degraded,
                   "the lock file is gone and cannot be made anew; changes are refused");
  if (!lock_lost_.exchange(true))
    log(LogLevel::error, "KMS0113", about(lock_.path(), checked.error().message));
}

// Notices a file that was replaced without a bump: by keytool, or by a writer that died before it.
// The bump that follows tells the other threads and processes.
void JceksStore::look_at_file_locked() {
  refresh_locked();
  const SnapshotPtr before = current_;
  sync_with_file();
  note_health((vanished_ || damaged_) &&
              generation().load(std::memory_order_acquire) != seen_generation_);
  if (current_ == before) return;
  // Somebody else's bump in between may stand for a newer file than the one just read; then
  // seen_generation_ stays behind, and the next reader looks again.
  if (generation().fetch_add(1, std::memory_order_acq_rel) == seen_generation_) ++seen_generation_;
}

void JceksStore::poll() noexcept {
  if (check_only_) return;
  try {
    poll_lock_file();
    const std::lock_guard hold(state_mutex_);
    look_at_file_locked();
  } catch (const std::exception& e) {
    log(LogLevel::error, "KMS0115", e.what());
  }
}

Result<void> JceksStore::invalidate(std::string_view) {
  if (check_only_) return {};
  const std::lock_guard hold(state_mutex_);
  look_at_file_locked();
  return {};
}

}  // namespace kms::jceks
