// SPDX-License-Identifier: Apache-2.0
#include "keystore/migrate.h"

#include <algorithm>
#include <charconv>

#include "core/hex.h"
#include "keystore/key_record.h"

namespace kms {
namespace {

using State = KeyMigration::State;

constexpr int kReads = 3;  // of a key that is changed while it is read

Result<KeyRecord> assemble(const KeyMetadata& metadata, const std::vector<VersionPtr>& versions) {
  KeyRecord key;
  key.metadata = metadata;
  key.state = key_state_name(metadata.state);
  for (const VersionPtr& version : versions) {
    if (version->material.empty())
      return Error(ErrorKind::unsupported,
                   "the material of " + version->version_name + " never leaves its store");
    const std::string& name = version->version_name;
    std::int32_t number = 0;
    std::from_chars(name.data() + metadata.name.size() + 1, name.data() + name.size(), number);
    // A version has no date of its own outside of trustee://.
    key.versions.push_back({number, metadata.created_ms, version->material.clone()});
  }
  return key;
}

// nullopt: there is no such key.
Result<std::optional<KeyRecord>> read_key(KeyStore& store, const std::string& name) {
  for (int i = 1;; ++i) {
    auto metadata = store.metadata(name);
    if (!metadata.ok()) return std::move(metadata).error();
    if (*metadata == nullptr) return std::optional<KeyRecord>();
    auto versions = store.versions(name);
    if (!versions.ok()) return std::move(versions).error();
    auto again = store.metadata(name);
    if (!again.ok()) return std::move(again).error();
    const bool steady = *again != nullptr && (*again)->versions == (*metadata)->versions &&
                        (*again)->created_ms == (*metadata)->created_ms;
    if (!steady && i < kReads) continue;
    if (!steady) return Error(ErrorKind::unavailable, "it was changed while it was read");
    auto key = assemble(**metadata, *versions);
    if (!key.ok()) return std::move(key).error();
    return std::optional<KeyRecord>(std::move(*key));
  }
}

Result<std::string> digest_text(const KeyRecord& key) {
  auto digest = digest_of(key);
  if (!digest.ok()) return std::move(digest).error();
  return hex_text(*digest);
}

KeyRecord copy_of(const KeyRecord& key, std::size_t versions) {
  KeyRecord copy{key.metadata, key.state, key.deleted_ms, {}};
  for (std::size_t i = 0; i < versions; ++i)
    copy.versions.push_back(
        {key.versions[i].number, key.versions[i].created_ms, key.versions[i].material.clone()});
  return copy;
}

// The target has the first versions of the key and nothing else, and the source all of the others.
bool is_behind(const KeyRecord& source, const KeyRecord& target) {
  const auto n = static_cast<std::int32_t>(target.versions.size());
  if (target.metadata.versions >= source.metadata.versions || n > target.metadata.versions)
    return false;
  const auto first = static_cast<std::size_t>(target.metadata.versions);
  const std::size_t fresh = static_cast<std::size_t>(source.metadata.versions) - first;
  if (source.versions.size() < fresh) return false;
  const std::size_t old = source.versions.size() - fresh;
  if (source.versions[old].number != target.metadata.versions) return false;
  KeyRecord was = copy_of(source, old);
  was.metadata.versions = target.metadata.versions;
  return differences(was, target).empty();
}

Result<void> import(KeyStore& to, const KeyRecord& key) {
  std::vector<VersionPtr> versions;
  for (const KeyRecord::Version& version : key.versions)
    versions.push_back(std::make_shared<const KeyVersion>(
        KeyVersion{key.metadata.name, version_name(key.metadata.name, version.number),
                   version.material.clone()}));
  return to.import_key(key.metadata, versions);
}

// Its end, where the store would else keep it and its name.
Result<void> remove_for_good(KeyStore& to, const std::string& name) {
  KMS_TRY(to.remove(name));
  auto hidden = to.deleted_key(name);
  if (!hidden.ok() && hidden.error().kind == ErrorKind::unsupported) return {};
  if (!hidden.ok()) return std::move(hidden).error();
  return hidden->has_value() ? to.purge(name) : Result<void>();
}

KeyMigration outcome(State state, const std::string& text = {}) {
  KeyMigration made;
  made.state = state;
  made.text = text;
  return made;
}

KeyMigration failure(const Error& error) {
  return outcome(State::failed, error.message);
}

// One key of the source, or of what was made earlier.
class OneKey {
 public:
  OneKey(KeyStore& from, KeyStore& to, MadeKeys& made, bool act, const std::string& name)
      : from_(from), to_(to), made_(made), act_(act), name_(name) {}

  Result<KeyMigration> run(bool listed) {
    auto source = read_key(from_, name_);
    if (!source.ok()) return failure(source.error());
    auto target = read_key(to_, name_);
    if (!target.ok()) return failure(target.error());
    // A key may be listed and have no metadata; or be deleted since it was listed, which the next
    // pass sees.
    if (!source->has_value() && listed)
      return outcome(State::failed, "has no metadata in the source");
    auto done = source->has_value() ? bring(**source, *target) : take_away(*target);
    if (!done.ok()) return done;
    if (source->has_value()) KMS_TRY(describe(**source, done->from));
    if (target->has_value()) KMS_TRY(describe(**target, done->to));
    return done;
  }

 private:
  static Result<void> describe(const KeyRecord& key, hadoop::JsonPtr& out) {
    auto json = described(key);
    if (!json.ok()) return std::move(json).error();
    out = std::move(*json);
    return {};
  }

  Result<bool> ours(const KeyRecord& target) const {
    const auto known = made_.all().find(name_);
    if (known == made_.all().end()) return false;
    auto digest = digest_text(target);
    if (!digest.ok()) return std::move(digest).error();
    return *digest == known->second;
  }

  Result<void> note(const KeyRecord& key) {
    auto digest = digest_text(key);
    if (!digest.ok()) return std::move(digest).error();
    return made_.note(name_, *digest);
  }

  Result<KeyMigration> bring(const KeyRecord& source, const std::optional<KeyRecord>& target) {
    if (!target.has_value()) return copy(source);
    const std::string what = differences(source, *target);
    if (what.empty()) return outcome(State::already_there);
    if (is_behind(source, *target)) return add_versions(source, *target);
    auto mine = ours(*target);
    if (!mine.ok()) return std::move(mine).error();
    if (!*mine) return outcome(State::different, what);
    if (!act_) return outcome(State::would_update, what);
    if (auto gone = remove_for_good(to_, name_); !gone.ok()) return failure(gone.error());
    auto again = copy(source);
    if (again.ok() && again->state == State::copied) return outcome(State::updated, what);
    return again;
  }

  Result<KeyMigration> copy(const KeyRecord& source) {
    if (!act_) return outcome(State::would_copy);
    KMS_TRY(note(source));
    if (auto taken = import(to_, source); !taken.ok()) return failure(taken.error());
    return outcome(State::copied);
  }

  Result<KeyMigration> add_versions(const KeyRecord& source, const KeyRecord& target) {
    const auto fresh =
        static_cast<std::size_t>(source.metadata.versions - target.metadata.versions);
    const std::string text = std::to_string(fresh) + " more versions";
    if (!act_) return outcome(State::would_update, text);
    for (std::size_t i = source.versions.size() - fresh; i < source.versions.size(); ++i) {
      if (made_.all().count(name_) != 0) {
        KeyRecord next = copy_of(source, i + 1);
        next.metadata.versions = source.versions[i].number + 1;
        KMS_TRY(note(next));
      }
      if (auto rolled = to_.roll(name_, &source.versions[i].material); !rolled.ok())
        return failure(rolled.error());
    }
    return outcome(State::updated, text);
  }

  Result<KeyMigration> take_away(const std::optional<KeyRecord>& target) {
    if (!target.has_value()) {
      if (act_) KMS_TRY(made_.forget(name_));
      return outcome(State::removed);
    }
    auto mine = ours(*target);
    if (!mine.ok()) return std::move(mine).error();
    if (!*mine) return outcome(State::different, "deleted in the source, changed in the target");
    if (!act_) return outcome(State::would_remove);
    if (auto gone = remove_for_good(to_, name_); !gone.ok()) return failure(gone.error());
    KMS_TRY(made_.forget(name_));
    return outcome(State::removed);
  }

  KeyStore &from_, &to_;
  MadeKeys& made_;
  const bool act_;
  const std::string& name_;
};

}  // namespace

Result<void> migrate_keys(KeyStore& from, KeyStore& to, MadeKeys& made, bool act,
                          std::map<std::string, KeyMigration>& keys, const MigrationStep& step) {
  auto names = from.names();
  if (!names.ok()) return std::move(names).error();
  std::vector<std::string> gone;
  for (const auto& [name, digest] : made.all())
    if (!std::binary_search(names->begin(), names->end(), name)) gone.push_back(name);
  const std::size_t total = names->size() + gone.size();
  std::size_t done = 0;
  for (const auto* list : {&*names, &gone}) {
    for (const std::string& name : *list) {
      auto one = OneKey(from, to, made, act, name).run(list != &gone);
      if (!one.ok()) return std::move(one).error();
      keys[name] = std::move(*one);
      if (step) step(++done, total);
    }
  }
  return {};
}

void take_back(KeyStore& to, MadeKeys& made, std::map<std::string, KeyMigration>& keys,
               const MigrationStep& step) {
  const MadeKeys::Digests all = made.all();
  std::size_t done = 0;
  for (const auto& [name, digest] : all) {
    keys[name] = [&]() -> KeyMigration {
      auto there = read_key(to, name);
      if (!there.ok()) return failure(there.error());
      if (!there->has_value()) {
        if (auto noted = made.forget(name); !noted.ok()) return failure(noted.error());
        return outcome(State::already_there);
      }
      auto now = digest_text(**there);
      if (!now.ok()) return failure(now.error());
      if (*now != digest) return outcome(State::different, "changed since it was copied");
      if (auto gone = remove_for_good(to, name); !gone.ok()) return failure(gone.error());
      if (auto noted = made.forget(name); !noted.ok()) return failure(noted.error());
      return outcome(State::removed);
    }();
    if (step) step(++done, all.size());
  }
}

}  // namespace kms
