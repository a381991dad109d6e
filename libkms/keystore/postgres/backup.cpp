// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/backup.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "keystore/postgres/bulk.h"

namespace kms {
namespace {

using postgres::BulkAccess;

constexpr std::size_t kNamed = 5;  // keys that a message names

std::string some_of(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kNamed; ++i)
    out += (i == 0 ? "" : ", ") + names[i];
  return out + (names.size() > kNamed ? ", ..." : "");
}

// A restore of one file into one store.
class Restore {
 public:
  Restore(BulkAccess store, CmsKey key, const RestoreOptions& options, const BulkStep& step)
      : store_(std::move(store)), key_(std::move(key)), options_(options), step_(step) {}

  Result<Restored> run() {
    auto file = stat_file(options_.file);
    if (!file.ok()) return std::move(file).error();
    size_ = file->size;
    KMS_TRY(compare());
    KMS_TRY(refuse_others());
    KMS_TRY(write());
    KMS_TRY(verify());
    return std::move(out_);
  }

 private:
  using Keys = std::vector<KeyRecord>;

  // What the store has of some keys.
  struct Found {
    Keys keys;
    std::unordered_map<std::string, const KeyRecord*> by_name;  // null: its row is damaged
    bool has(const KeyRecord& key) const { return by_name.count(key.metadata.name) != 0; }
    bool has_same(const KeyRecord& key) const {
      const auto at = by_name.find(key.metadata.name);
      return at != by_name.end() && at->second != nullptr && differences(key, *at->second).empty();
    }
  };
  Result<Found> find(const Keys& keys);

  // Calls work with the keys of each part of the file, and what the store has of them.
  using Work = std::function<Result<void>(const Keys&, const Found&, const BackupReader&)>;
  Result<void> each_part(const Work& work);
  // The same, and tells how many keys are done.
  Result<void> each_part(std::string_view what,
                         const std::function<Result<void>(const Keys&, const Found&)>& work);

  Result<void> compare();
  Result<void> refuse_others();
  Result<void> write();
  Result<void> verify();

  BulkAccess store_;
  CmsKey key_;
  const RestoreOptions& options_;
  const BulkStep& step_;
  std::int64_t size_ = 0;  // of the file, bytes
  Restored out_;
};

Result<Restore::Found> Restore::find(const Keys& keys) {
  Found found;
  std::vector<std::string> names, damaged;
  for (const KeyRecord& key : keys) names.push_back(key.metadata.name);
  KMS_TRY(store_.in_snapshot([&]() -> Result<void> {
    auto there = store_.keys_named(
        names, [&](const std::string& what, const std::string&) { damaged.push_back(what); });
    if (!there.ok()) return std::move(there).error();
    found.keys = std::move(*there);
    return {};
  }));
  for (const KeyRecord& key : found.keys) found.by_name[key.metadata.name] = &key;
  for (const std::string& name : damaged) found.by_name.emplace(name, nullptr);
  return found;
}

Result<void> Restore::each_part(const Work& work) {
  auto reader = BackupReader::open(options_.file, key_);
  if (!reader.ok()) return std::move(reader).error();
  for (;;) {
    auto part = reader->next();
    if (!part.ok()) return std::move(part).error();
    if (!part->has_value()) break;
    auto found = find(**part);
    if (!found.ok()) return std::move(found).error();
    KMS_TRY(work(**part, *found, *reader));
  }
  out_.backup = reader->totals();
  return {};
}

Result<void> Restore::each_part(
    std::string_view what, const std::function<Result<void>(const Keys&, const Found&)>& work) {
  std::int64_t done = 0;
  return each_part([&](const Keys& keys, const Found& found, const BackupReader&) -> Result<void> {
    KMS_TRY(work(keys, found));
    done += static_cast<std::int64_t>(keys.size());
    if (step_) step_(what, done, out_.backup.keys);
    return {};
  });
}

// The whole file, before anything is written.
Result<void> Restore::compare() {
  return each_part(
      [&](const Keys& keys, const Found& found, const BackupReader& reader) -> Result<void> {
        for (const KeyRecord& key : keys) {
          if (found.has_same(key))
            ++out_.already_there;
          else if (found.has(key))
            out_.different.push_back(key.metadata.name);
        }
        if (step_) step_("read", reader.position(), size_);
        return {};
      });
}

Result<void> Restore::refuse_others() {
  if (options_.merge) return {};
  const auto refuse = [](const std::string& why) {
    return Error(ErrorKind::invalid_argument,
                 "the store is not empty: " + why +
                     "; nothing was written (--merge adds the missing keys and leaves the others "
                     "alone)");
  };
  if (!out_.different.empty())
    return refuse("it has other keys of the same names: " + some_of(out_.different));
  auto count = store_.count();
  if (!count.ok()) return std::move(count).error();
  if (*count == out_.already_there) return {};
  return refuse("it has " + std::to_string(*count - out_.already_there) +
                " keys that are not in the backup");
}

Result<void> Restore::write() {
  return each_part("restored", [&](const Keys& keys, const Found& found) -> Result<void> {
    std::vector<const KeyRecord*> missing;
    for (const KeyRecord& key : keys)
      if (!found.has(key)) missing.push_back(&key);
    KMS_TRY(store_.insert(missing));
    out_.restored += static_cast<std::int64_t>(missing.size());
    return {};
  });
}

// What the database has now, key by key.
Result<void> Restore::verify() {
  const std::set<std::string> expected(out_.different.begin(), out_.different.end());
  std::vector<std::string> wrong;
  KMS_TRY(each_part("compared", [&](const Keys& keys, const Found& found) -> Result<void> {
    for (const KeyRecord& key : keys) {
      if (found.has_same(key))
        ++out_.verified;
      else if (expected.count(key.metadata.name) == 0)
        wrong.push_back(key.metadata.name);
    }
    return {};
  }));
  if (wrong.empty()) return {};
  return Error(ErrorKind::internal,
               "after the restore these keys are not as in the backup: " + some_of(wrong));
}

}  // namespace

Result<BackupTotals> backup_trustee_store(const std::string& uri, const TrusteeOptions& options,
                                          const std::string& file,
                                          std::span<const std::string> certificates,
                                          const BulkStep& step) {
  auto recipients = CmsRecipients::load(certificates);
  if (!recipients.ok()) return std::move(recipients).error();
  auto store = BulkAccess::open(uri, options, false);
  if (!store.ok()) return std::move(store).error();
  auto writer = BackupWriter::create(file, std::move(*recipients), uri);
  if (!writer.ok()) return std::move(writer).error();
  KMS_TRY(store->in_snapshot([&]() -> Result<void> {
    auto all = store->count();
    if (!all.ok()) return std::move(all).error();
    std::int64_t done = 0;
    for (std::string last;;) {
      auto keys = store->keys_after(last, [&](const std::string&, const std::string& why) {
        writer->leave_out(why);  // which names it
      });
      if (!keys.ok()) return std::move(keys).error();
      if (keys->empty()) return {};
      for (KeyRecord& key : *keys) KMS_TRY(writer->add(std::move(key)));
      done += static_cast<std::int64_t>(keys->size());
      if (step) step("saved", done, *all);
    }
  }));
  return writer->finish();
}

Result<Restored> restore_trustee_store(const std::string& uri, const TrusteeOptions& options,
                                       const RestoreOptions& restore, const BulkStep& step) {
  auto key = CmsKey::load(restore.key_file, restore.key_password);
  if (!key.ok()) return std::move(key).error();
  auto store = BulkAccess::open(uri, options, true);
  if (!store.ok()) return std::move(store).error();
  return Restore(std::move(*store), std::move(*key), restore, step).run();
}

}  // namespace kms
