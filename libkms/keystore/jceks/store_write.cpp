// SPDX-License-Identifier: Apache-2.0
// create, remove, and the one way in which a change reaches the file.
#include "core/clock.h"
#include "keystore/checks.h"
#include "keystore/jceks/alias.h"
#include "keystore/jceks/key_codec.h"
#include "keystore/jceks/keygen.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {
namespace {

StoredMetadata first_metadata(const KeyOptions& options) {
  StoredMetadata out;
  out.cipher = options.cipher;
  out.bit_length = options.bit_length;
  out.created_ms = now_ms();
  out.description = options.description;
  out.attributes.assign(options.attributes.begin(), options.attributes.end());
  out.versions = 1;
  return out;
}

}  // namespace

Result<void> JceksStore::commit(const Decide& decide, const Approval& approval) {
  if (check_only_) return Error(ErrorKind::unsupported, "The keystore was opened for a check only");
  WriteLock::Turn turn(lock_);
  KMS_TRY(turn.take());
  auto base = writable_base();
  if (!base.ok()) return std::move(base).error();
  auto change = decide(**base);
  if (!change.ok()) return std::move(change).error();
  return write(turn, **base, *change, approval);
}

// The state of the file right now, to which a change may be made.
Result<SnapshotPtr> JceksStore::writable_base() {
  const std::lock_guard hold(state_mutex_);
  look_at_file_locked();
  if (vanished_)
    return Error(ErrorKind::unavailable,
                 "The keystore " + options_.path +
                     " has vanished; changes are refused until it is back or the server restarts");
  if (damaged_)
    return Error(ErrorKind::unavailable,
                 "The keystore " + options_.path +
                     " was changed and cannot be read; changes are refused until it is mended");
  return current_;
}

Result<void> JceksStore::write(const WriteLock::Turn& turn, const Snapshot& base,
                               const Change& change, const Approval& approval) {
  const auto fresh = std::make_shared<Snapshot>();
  fresh->entries = base.entries;
  for (const std::string& alias : change.erase) fresh->entries.erase(alias);
  for (const EntryPtr& entry : change.put)
    fresh->entries.insert_or_assign(entry->raw().alias, entry);
  auto bytes = encode_snapshot(fresh->entries, password_);
  if (!bytes.ok()) return std::move(bytes).error();
  bool refused = false;  // by the caller, which is no failure of the keystore
  // A last look, for those who do not know our lock and for a lock file that was taken away; then
  // the caller's last word.
  auto ready = [&]() -> Result<void> {
    // A sidecar that does not match makes the Java KMS take the file for damaged.
    KMS_TRY(remove_file(hidden_beside(real_path(options_.path), ".crc")));
    auto id = stat_file(options_.path);
    if (!id.ok()) return std::move(id).error();
    if (*id != base.file || !turn.still_held())
      return Error(ErrorKind::unavailable, "The keystore " + options_.path +
                                               " was changed by somebody else in the same moment");
    if (!approval) return {};
    auto last_word = approval(change.fresh.get());
    refused = !last_word.ok();
    return last_word;
  };
  auto replaced = replace_file(real_path(options_.path), *bytes,
                               {options_.owner_uid, options_.owner_gid}, ready);
  if (!replaced.ok()) {
    if (!refused) {
      // That somebody else was faster says nothing of the disk.
      if (replaced.error().kind != ErrorKind::unavailable)
        change_health_.failed("the last change of the keystore could not be written");
      log(LogLevel::error, "KMS0110",
          about(options_.path, "a change could not be written, the keystore is as it was: " +
                                   replaced.error().message));
    }
    return std::move(replaced).error();
  }
  change_health_.good();
  fresh->file = replaced->id;
  publish(fresh);
  if (!replaced->not_durable.has_value()) return {};
  log(LogLevel::error, "KMS0111",
      about(options_.path, "a change is in place, but a power cut could undo it: " +
                               replaced->not_durable->message));
  return *replaced->not_durable;
}

// Only now do readers, here and in other processes, learn of the change.
void JceksStore::publish(SnapshotPtr fresh) noexcept {
  const std::lock_guard hold(state_mutex_);
  current_ = std::move(fresh);
  seen_generation_ = generation().fetch_add(1, std::memory_order_acq_rel) + 1;
}

Result<Bytes> JceksStore::seal_metadata(const StoredMetadata& stored) {
  return seal_key(encode_metadata(stored).view(), password_.view(), options_.iterations);
}

Result<Bytes> JceksStore::seal_version(const StoredMetadata& of, const Secret& material) {
  return seal_key(encode_secret_key(of.cipher.value_or(""), material.view()).view(),
                  password_.view(), options_.iterations);
}

EntryPtr JceksStore::metadata_entry(const std::string& alias, Bytes body, StoredMetadata stored) {
  RawEntry raw{EntryTag::secret_key, alias, now_ms(), std::move(body)};
  return std::make_shared<const Entry>(std::move(raw), opened_metadata(alias, std::move(stored)));
}

EntryPtr JceksStore::version_entry(const std::string& alias, Bytes body, const Secret& material) {
  RawEntry raw{EntryTag::secret_key, alias, now_ms(), std::move(body)};
  return std::make_shared<const Entry>(std::move(raw), opened_version(alias, material.clone()));
}

Result<VersionPtr> JceksStore::create(std::string_view name, const KeyOptions& options,
                                      const Secret* material, const Approval& approval) {
  Secret generated;
  if (material == nullptr) {
    auto made = generate_material(options.cipher, options.bit_length);
    if (!made.ok()) return std::move(made).error();
    generated = std::move(*made);
    material = &generated;
  }
  KMS_TRY(check_new_name(name));
  KMS_TRY(check_texts(options));
  const std::string alias(name), first = version_name(name, 0);
  auto check_free = [&](const Snapshot& s) -> Result<void> {
    for (const std::string& each : {alias, first})
      if (s.find(each) != nullptr)
        return Error(ErrorKind::io, "Key " + each + " already exists in " + uri());
    return {};
  };
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  KMS_TRY(check_free(**seen));
  KMS_TRY(check_length(options.bit_length, *material));
  // Sealed before the locks are taken: this is what takes time.
  StoredMetadata stored = first_metadata(options);
  auto sealed_version = seal_version(stored, *material);
  if (!sealed_version.ok()) return std::move(sealed_version).error();
  auto sealed_metadata = seal_metadata(stored);
  if (!sealed_metadata.ok()) return std::move(sealed_metadata).error();
  const EntryPtr version = version_entry(first, std::move(*sealed_version), *material);
  const EntryPtr metadata = metadata_entry(alias, std::move(*sealed_metadata), std::move(stored));
  KMS_TRY(commit(
      [&](const Snapshot& s) -> Result<Change> {
        KMS_TRY(check_free(s));
        return Change{{version, metadata}, {}, version->peek()->version};
      },
      approval));
  return version->peek()->version;
}

Result<void> JceksStore::remove(std::string_view name, const Approval& approval) {
  auto remove_from = [&](const Snapshot& s) -> Result<Change> {
    auto key = hadoop_key(s, name);
    if (!key.ok()) return std::move(key).error();
    if (*key == nullptr)
      return Error(ErrorKind::io, "Key " + std::string(name) + " does not exist in " + uri());
    const std::string& alias = (*key)->raw().alias;
    Change change{{}, {alias}, nullptr};
    for (const Entry* each : version_entries(s, alias, (*key)->peek()->stored.versions))
      change.erase.push_back(each->raw().alias);
    return change;
  };
  // Tried on the present state first: opens the entry, and refuses, without the locks.
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  if (auto change = remove_from(**seen); !change.ok()) return std::move(change).error();
  return commit(remove_from, approval);
}

}  // namespace kms::jceks
