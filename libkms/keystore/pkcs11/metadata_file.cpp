// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/metadata_file.h"

namespace kms::pkcs11 {

Result<StatePtr> load_state(const std::string& path) {
  auto file = load_file(path);
  if (!file.ok()) return std::move(file).error();
  if (!file->id.exists) return std::make_shared<const State>();
  auto parsed = parse_state(file->data);
  if (!parsed.ok())
    return Error(ErrorKind::corrupt, "the metadata of the HSM's keys in " + path +
                                         " cannot be read: " + parsed.error().message);
  parsed->file = file->id;
  return std::make_shared<const State>(std::move(*parsed));
}

MetadataFile::MetadataFile(std::string path, FileOwner owner, int lock_timeout_ms, Logger& logger,
                           StatePtr first)
    : path_(real_path(path)),
      owner_(owner),
      logger_(logger),
      lock_({hidden_beside(path_, ".lock"), owner, lock_timeout_ms},
            [this] {
              log(LogLevel::warn, "KMS0151",
                  "the lock file was removed, replaced or cut while in use; it was opened anew");
            }),
      current_(std::move(first)),
      seen_generation_(lock_.generation()) {}

// The hot path: two loads and a comparison.
Result<const State*> MetadataFile::state() {
  const std::uint64_t now = lock_.generation().load(std::memory_order_acquire);
  if (const State* mine = cached_.get(now)) return mine;
  const std::lock_guard hold(mutex_);
  if (!refresh_locked())
    return Error(ErrorKind::unavailable, "The metadata in " + path_ +
                                             " was changed and cannot be read; its keys are "
                                             "refused until it is mended");
  return cached_.put(seen_generation_, current_);
}

StatePtr MetadataFile::latest() {
  const std::lock_guard hold(mutex_);
  return current_;
}

// The generation is read before the file: a writer in between is seen the next time. False when
// somebody committed what cannot be read here.
bool MetadataFile::refresh_locked() {
  const std::uint64_t now = lock_.generation().load(std::memory_order_acquire);
  if (now == seen_generation_) return true;
  sync_with_file();
  if (!damage_.empty()) return false;
  seen_generation_ = now;
  return true;
}

// Whatever goes wrong, the last good state stays, and changes are refused.
void MetadataFile::sync_with_file() {
  auto id = stat_file(path_);
  if (id.ok() && id->exists && *id == current_->file) return complain({});
  if (!id.ok()) return complain(id.error().message);
  if (!id->exists) return complain("the file has vanished");
  auto fresh = load_state(path_);
  if (!fresh.ok()) return complain(fresh.error().message);
  if ((*fresh)->store_id != current_->store_id)
    log(LogLevel::warn, "KMS0155", "the file is that of another store of keys now");
  current_ = std::move(*fresh);
  complain({});
}

void MetadataFile::complain(const std::string& why) {
  if (why == damage_) return;
  if (why.empty()) {
    log(LogLevel::notice, "KMS0150", "the file of metadata is usable again");
    health_.good();
  } else {
    log(LogLevel::error, "KMS0149",
        "the changed file of metadata cannot be read; its last good state is served, changes are "
        "refused: " +
            why);
    health_.set(HealthState::degraded,
                "the file of the HSM keys' metadata cannot be read; its last good state is served, "
                "changes are refused");
  }
  damage_ = why;
}

Result<void> MetadataFile::attach() {
  KMS_TRY(lock_.open());
  const std::lock_guard hold(mutex_);
  const std::uint64_t now = lock_.generation().load(std::memory_order_acquire);
  sync_with_file();
  if (damage_.empty()) seen_generation_ = now;
  return {};
}

// Notices a file that was replaced without a bump, by a restore or a writer that died before it.
void MetadataFile::look_locked() {
  refresh_locked();
  const StatePtr before = current_;
  sync_with_file();
  if (current_ == before) return;
  if (lock_.generation().fetch_add(1, std::memory_order_acq_rel) == seen_generation_)
    ++seen_generation_;
}

void MetadataFile::look() {
  const std::lock_guard hold(mutex_);
  look_locked();
}

void MetadataFile::poll() {
  const bool locked = lock_.poll().ok();
  const std::lock_guard hold(mutex_);
  look_locked();
  if (!locked)
    health_.set(HealthState::degraded,
                "the lock file is gone and cannot be made anew; changes are refused");
  else if (damage_.empty())
    health_.good();
}

Result<StatePtr> MetadataFile::writable_base() {
  const std::lock_guard hold(mutex_);
  look_locked();
  if (!damage_.empty())
    return Error(ErrorKind::unavailable,
                 "Changes are refused until the file of metadata is mended: " + damage_);
  return current_;
}

Result<StatePtr> MetadataFile::write(const WriteLock::Turn& turn, const State& base, State next,
                                     const KeyVersion* fresh, const Approval& approval) {
  auto text = encode_state(next);
  if (!text.ok()) return std::move(text).error();
  bool refused = false;  // by the caller, which is no failure of the store
  const auto ready = [&]() -> Result<void> {
    auto id = stat_file(path_);
    if (!id.ok()) return std::move(id).error();
    if (*id != base.file || !turn.still_held())
      return Error(ErrorKind::unavailable,
                   path_ + " was changed by somebody else in the same moment");
    if (!approval) return {};
    auto last_word = approval(fresh);
    refused = !last_word.ok();
    return last_word;
  };
  auto replaced = replace_file(path_, as_bytes(*text), owner_, ready);
  if (!replaced.ok()) {
    if (!refused)
      log(LogLevel::error, "KMS0153",
          "a change could not be written, the file is as it was: " + replaced.error().message);
    return std::move(replaced).error();
  }
  next.file = replaced->id;
  auto state = std::make_shared<const State>(std::move(next));
  {
    // Only now do readers, here and in other processes, learn of the change.
    const std::lock_guard hold(mutex_);
    current_ = state;
    seen_generation_ = lock_.generation().fetch_add(1, std::memory_order_acq_rel) + 1;
  }
  if (replaced->not_durable) {
    log(LogLevel::error, "KMS0154",
        "a change is in place, but a power cut could undo it: " + replaced->not_durable->message);
    return *replaced->not_durable;
  }
  return state;
}

}  // namespace kms::pkcs11
