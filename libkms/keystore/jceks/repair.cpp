// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/repair.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>

#include "core/clock.h"
#include "core/write_lock.h"
#include "keystore/jceks/key_codec.h"
#include "keystore/jceks/modified_utf8.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {
namespace {

class Planner {
 public:
  Planner(const Inspection& found, const Secret& password, const RepairOptions& options)
      : found_(found), password_(password), options_(options) {}

  Result<RepairPlan> run() {
    for (const Finding& finding : found_.findings)
      if (finding.code == "duplicate") step(finding.entry, "the entries before the last one go");
    for (const EntryPtr& entry : found_.entries) keep_or_drop(entry);
    KMS_TRY(make_metadata());
    KMS_TRY(raise_counts());
    return std::move(plan_);
  }

 private:
  void step(const std::string& entry, std::string text) {
    plan_.steps.push_back({entry, std::move(text)});
  }

  void keep_or_drop(const EntryPtr& entry) {
    const std::string& alias = entry->raw().alias;
    const Opened& opened = *entry->peek();
    if (opened.kind == Opened::Kind::broken && options_.drop_broken) {
      step(to_utf8(alias), "cannot be opened and is taken away");
      return;
    }
    plan_.entries[alias] = entry;
    if (opened.kind != Opened::Kind::version) return;
    if (const auto parts = numbered_alias(alias)) versions_[parts->base][parts->number] = entry;
  }

  // Version numbers with an entry, from the given one on, without a gap.
  std::int32_t end_of_run(const std::string& base, std::int32_t from) const {
    const auto versions = versions_.find(base);
    while (versions != versions_.end() && versions->second.count(from) != 0) ++from;
    return from;
  }

  // For keys of which there are versions only. The cipher is the algorithm that Hadoop sealed them
  // with.
  Result<void> make_metadata() {
    for (const auto& [base, versions] : versions_) {
      if (base.empty() || plan_.entries.count(base) != 0) continue;
      const Entry& newest = *versions.rbegin()->second;
      auto key = unseal_key(newest.raw().body, password_.view());
      if (!key.ok()) return std::move(key).error();
      const auto& secret = std::get<SecretKey>(*key);
      StoredMetadata made;
      made.cipher = secret.algorithm;
      made.bit_length = static_cast<std::int32_t>(secret.material.size() * 8);
      made.created_ms = versions.begin()->second->raw().date_ms;
      made.versions = versions.rbegin()->first + 1;
      step(to_utf8(base), "gets metadata made from its versions: " + secret.algorithm + ", " +
                              std::to_string(made.bit_length) + " bits, " +
                              std::to_string(made.versions) +
                              " versions; description and attributes are lost");
      KMS_TRY(put_metadata(base, std::move(made)));
    }
    return {};
  }

  Result<void> raise_counts() {
    for (const EntryPtr& entry : found_.entries) {
      const Opened& opened = *entry->peek();
      if (opened.kind != Opened::Kind::metadata) continue;
      const std::string& alias = entry->raw().alias;
      StoredMetadata stored = opened.stored;
      const std::int32_t end = end_of_run(alias, std::max(0, stored.versions));
      if (end <= stored.versions) continue;
      step(to_utf8(alias), "counts " + std::to_string(end) + " versions instead of " +
                               std::to_string(stored.versions) + ", as many as there are; " +
                               to_utf8(version_name(alias, end - 1)) + " becomes the current one");
      stored.versions = end;
      KMS_TRY(put_metadata(alias, std::move(stored)));
    }
    return {};
  }

  Result<void> put_metadata(const std::string& alias, StoredMetadata stored) {
    auto sealed = seal_key(encode_metadata(stored).view(), password_.view(), options_.iterations);
    if (!sealed.ok()) return std::move(sealed).error();
    RawEntry raw{EntryTag::secret_key, alias, now_ms(), std::move(*sealed)};
    plan_.entries[alias] =
        std::make_shared<const Entry>(std::move(raw), opened_metadata(alias, std::move(stored)));
    return {};
  }

  const Inspection& found_;
  const Secret& password_;
  const RepairOptions& options_;
  RepairPlan plan_;
  std::map<std::string, std::map<std::int32_t, EntryPtr>> versions_;  // by base name and number
};

std::string backup_name(const std::string& path) {
  const std::time_t now = static_cast<std::time_t>(now_ms() / 1000);
  std::tm t{};
  localtime_r(&now, &t);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &t);
  return path + ".before-repair-" + text;
}

// A file under a name that nothing has yet, synced, with the mode and owner of another.
Result<void> write_backup(const std::string& from, const std::string& to, ByteView data) {
  struct stat info {};
  if (::stat(from.c_str(), &info) != 0) return io_error("look at", from, errno);
  const Fd fd(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) return io_error("create", to, errno);
  // Only root can give files away; the backup is then at least as closed as the original.
  if (::fchown(fd.get(), info.st_uid, info.st_gid) == 0)
    static_cast<void>(::fchmod(fd.get(), info.st_mode & 07777));
  while (!data.empty()) {
    const ssize_t n = ::write(fd.get(), data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error("write", to, errno);
    data = data.subspan(static_cast<std::size_t>(n));
  }
  if (::fsync(fd.get()) != 0) return io_error("sync", to, errno);
  return sync_path(directory_of(to));
}

}  // namespace

Result<RepairPlan> plan_repair(const Inspection& found, const Secret& password,
                               const RepairOptions& options) {
  return Planner(found, password, options).run();
}

Result<std::string> carry_out_repair(const std::string& path, const Inspection& found,
                                     const RepairPlan& plan, const Secret& password,
                                     const RepairOptions& options) {
  const std::string file = real_path(path);
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return io_error("look at", file, errno);
  const FileOwner owner{info.st_uid, info.st_gid};
  WriteLock lock({hidden_beside(file, ".lock"), owner, options.lock_timeout_ms, "keystore"}, [] {});
  KMS_TRY(lock.open());
  WriteLock::Turn turn(lock);
  KMS_TRY(turn.take());
  auto now = load_file(file);
  if (!now.ok()) return std::move(now).error();
  if (now->id != found.file)
    return Error(ErrorKind::unavailable, path + ": was changed since it was looked at; start anew");
  auto bytes = encode_snapshot(plan.entries, password);
  if (!bytes.ok()) return std::move(bytes).error();
  const std::string backup = backup_name(file);
  KMS_TRY(write_backup(file, backup, now->data));
  auto replaced = replace_file(file, *bytes, owner, [&]() -> Result<void> {
    KMS_TRY(remove_file(hidden_beside(file, ".crc")));
    auto last = stat_file(file);
    if (!last.ok()) return std::move(last).error();
    if (*last == found.file && turn.still_held()) return {};
    return Error(ErrorKind::unavailable, path + ": was changed by somebody else just now");
  });
  if (!replaced.ok()) return std::move(replaced).error();
  lock.generation().fetch_add(1, std::memory_order_acq_rel);
  if (replaced->not_durable) return *replaced->not_durable;
  return backup;
}

Result<void> write_salvaged(const std::string& damaged, const std::string& fresh,
                            const RepairPlan& plan, const Secret& password) {
  auto bytes = encode_snapshot(plan.entries, password);
  if (!bytes.ok()) return std::move(bytes).error();
  return write_backup(damaged, fresh, *bytes);
}

}  // namespace kms::jceks
