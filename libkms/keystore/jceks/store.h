// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/change_note.h"
#include "core/thread_cached.h"
#include "core/write_lock.h"
#include "keystore/jceks/jceks_store.h"
#include "keystore/jceks/snapshot.h"

namespace kms::jceks {

// The keystore of one process. Readers go by an immutable snapshot that each thread keeps for
// itself and compares with the generation in the lock file; only when that moved do they take
// state_mutex_ and look at the file. Writers take turns by lock_. Order: lock_, state_mutex_.
class JceksStore final : public KeyStore {
 public:
  JceksStore(JceksOptions options, Secret password, Logger& logger, SnapshotPtr first,
             bool check_only);

  const std::string& uri() const override { return options_.uri; }
  Health condition() const noexcept override;
  Result<void> attach() override;
  void poll() noexcept override;
  KeyStoreSize size() override;
  Result<std::vector<std::string>> names() override;
  Result<MetadataPtr> metadata(std::string_view name) override;
  Result<VersionPtr> version(std::string_view version_name) override;
  Result<VersionPtr> current_version(std::string_view name) override;
  Result<std::vector<VersionPtr>> versions(std::string_view name) override;
  Result<VersionPtr> create(std::string_view name, const KeyOptions& options,
                            const Secret* material, const Approval& approval) override;
  Result<VersionPtr> roll(std::string_view name, const Secret* material,
                          const Approval& approval) override;
  Result<void> remove(std::string_view name, const Approval& approval) override;
  Result<void> invalidate(std::string_view name) override;
  Result<void> import_key(const KeyMetadata& metadata,
                          std::span<const VersionPtr> versions) override;

 private:
  // What a write does to the entries.
  struct Change {
    std::vector<EntryPtr> put;
    std::vector<std::string> erase;
    VersionPtr fresh;  // shown to the approval
  };
  using Decide = std::function<Result<Change>(const Snapshot&)>;
  class Roll;  // one new version of a key

  // Snapshots (store_state.cpp).
  Result<const Snapshot*> snapshot();
  bool refresh_locked();
  void sync_with_file();
  void note_health(bool stale) noexcept;
  void adopt(SnapshotPtr fresh);
  void complain(const FileId& about, const Error& error);
  void poll_lock_file();
  bool folder_writable() const;
  void look_at_file_locked();
  std::atomic<std::uint64_t>& generation() { return lock_.generation(); }

  // Lookups (store_read.cpp).
  const Opened& open(const Entry& entry);
  Result<const Entry*> hadoop_key(const Snapshot& s, std::string_view name);
  Result<VersionPtr> version_of(const Snapshot& s, std::string_view alias);
  Error unreadable(std::string_view what, const Opened& opened) const;
  static std::vector<const Entry*> version_entries(const Snapshot& s, std::string_view alias,
                                                   std::int32_t count);

  // Changes (store_write.cpp).
  Result<void> commit(const Decide& decide, const Approval& approval);
  Result<SnapshotPtr> writable_base();
  Result<void> write(const WriteLock::Turn& turn, const Snapshot& base, const Change& change,
                     const Approval& approval);
  void publish(SnapshotPtr fresh) noexcept;
  Result<Bytes> seal_metadata(const StoredMetadata& stored);
  Result<Bytes> seal_version(const StoredMetadata& of, const Secret& material);
  static EntryPtr metadata_entry(const std::string& alias, Bytes body, StoredMetadata stored);
  static EntryPtr version_entry(const std::string& alias, Bytes body, const Secret& material);

  void log(LogLevel level, std::string_view id, std::string_view text) noexcept;
  std::string file_uri() const { return "file:" + options_.path; }

  const JceksOptions options_;
  const Secret password_;
  Logger& logger_;
  const bool check_only_;

  ThreadCached<Snapshot> cached_;
  WriteLock lock_;
  std::atomic<bool> lock_lost_{false};  // said already that it cannot be opened anew
  std::atomic<bool> read_only_{false};  // no lock file could be made at the start
  HealthNote file_health_, lock_health_;
  ChangeNote change_health_;
  bool folder_closed_ = false;  // seen by the last poll(), which alone uses it

  std::mutex state_mutex_;  // guards what follows
  SnapshotPtr current_;
  std::uint64_t seen_generation_ = 0;  // generation that current_ is good for
  bool vanished_ = false;              // the file was there and is not any more
  bool damaged_ = false;               // the file is newer than current_ and cannot be read
  FileId complained_about_;
};

// "PATH: text" for log lines about the keystore as a whole.
std::string about(const std::string& path, std::string_view text);

}  // namespace kms::jceks
