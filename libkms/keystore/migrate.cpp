// SPDX-License-Identifier: Apache-2.0
#include "keystore/migrate.h"

namespace kms {
namespace {

using State = KeyMigration::State;

struct WholeKey {
  MetadataPtr metadata;  // null: there is no such key
  std::vector<VersionPtr> versions;
};

Result<WholeKey> read_key(KeyStore& store, const std::string& name) {
  WholeKey key;
  auto metadata = store.metadata(name);
  if (!metadata.ok()) return std::move(metadata).error();
  key.metadata = std::move(*metadata);
  if (key.metadata == nullptr) return key;
  auto versions = store.versions(name);
  if (!versions.ok()) return std::move(versions).error();
  key.versions = std::move(*versions);
  return key;
}

class Differences {
 public:
  void unless(bool same, const std::string& what) {
    if (!same) text_ += (text_.empty() ? "" : ", ") + what;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string differences(const WholeKey& left, const WholeKey& right) {
  if (right.metadata == nullptr) return "missing";
  const KeyMetadata &a = *left.metadata, &b = *right.metadata;
  Differences found;
  found.unless(a.cipher == b.cipher, "cipher");
  found.unless(a.bit_length == b.bit_length, "length");
  found.unless(a.description == b.description, "description");
  found.unless(a.attributes == b.attributes, "attributes");
  found.unless(a.created_ms == b.created_ms, "date");
  found.unless(a.versions == b.versions, "count of versions");
  found.unless(left.versions.size() == right.versions.size(), "versions that are there");
  for (std::size_t i = 0; i < left.versions.size() && i < right.versions.size(); ++i) {
    const KeyVersion &x = *left.versions[i], &y = *right.versions[i];
    found.unless(x.version_name == y.version_name && x.material.equals(y.material.view()),
                 "material of " + x.version_name);
  }
  return found.take();
}

KeyMigration migrate_one(KeyStore& from, KeyStore& to, const std::string& name, bool dry_run) {
  auto source = read_key(from, name);
  if (!source.ok()) return {name, State::failed, source.error().message};
  if (source->metadata == nullptr) return {name, State::failed, "has no metadata in the source"};
  auto target = read_key(to, name);
  if (!target.ok()) return {name, State::failed, target.error().message};
  if (target->metadata != nullptr) {
    std::string what = differences(*source, *target);
    return what.empty() ? KeyMigration{name, State::already_there, {}}
                        : KeyMigration{name, State::different, std::move(what)};
  }
  if (dry_run) return {name, State::would_copy, {}};
  auto taken = to.import_key(*source->metadata, source->versions);
  if (!taken.ok()) return {name, State::failed, taken.error().message};
  return {name, State::copied, {}};
}

}  // namespace

Result<std::vector<KeyMigration>> migrate_keys(KeyStore& from, KeyStore& to, bool dry_run,
                                               const MigrationStep& step) {
  auto names = from.names();
  if (!names.ok()) return std::move(names).error();
  std::vector<KeyMigration> keys;
  for (const std::string& name : *names) {
    keys.push_back(migrate_one(from, to, name, dry_run));
    if (step) step(names->size());
  }
  return keys;
}

Result<std::string> compare_key(KeyStore& left, KeyStore& right, const std::string& name) {
  auto a = read_key(left, name);
  if (!a.ok()) return std::move(a).error();
  if (a->metadata == nullptr) return std::string("gone from the source meanwhile");
  auto b = read_key(right, name);
  if (!b.ok()) return std::move(b).error();
  return differences(*a, *b);
}

}  // namespace kms
