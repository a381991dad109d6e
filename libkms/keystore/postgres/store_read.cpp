// SPDX-License-Identifier: Apache-2.0
// Look-ups: from the thread's own memory, from that of the process, from the database.
#include <algorithm>
#include <charconv>

#include "keystore/jceks/alias.h"
#include "keystore/postgres/statements.h"
#include "keystore/postgres/store.h"

namespace kms::postgres {
namespace {

// N of NAME@N in the one spelling that version names have; -1 for anything else.
std::int32_t version_number(std::string_view version_name) {
  const std::string_view digits = version_name.substr(version_name.rfind('@') + 1);
  std::int32_t n = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  return whole && n >= 0 && (digits == "0" || digits.front() != '0') ? n : -1;
}

}  // namespace

Result<const CachedKey*> TrusteeStore::find(std::string_view asked) {
  const jceks::FoldedAlias alias(asked);
  const std::string_view name = alias.view();
  const std::uint64_t hash = name_hash(name);
  if (current())
    if (const CachedKey* mine = cache_.find_mine(hash, name)) return mine;
  KMS_TRY(sync());
  const std::uint64_t epoch = cache_.epoch();
  if (const CachedKey* known = cache_.find(hash, name)) return known;
  auto loaded = load(name, hash);
  if (!loaded.ok()) return std::move(loaded).error();
  return cache_.put(hash, std::move(*loaded), epoch);
}

// Of a key that is known as it was earlier only the versions that it did not have then are read;
// versions do not change.
Result<CachedKeyPtr> TrusteeStore::load(std::string_view name, std::uint64_t hash) {
  CachedKeyPtr known = cache_.dropped(hash, name);
  if (known != nullptr &&
      std::any_of(known->versions.begin(), known->versions.end(),
                  [](const CachedKey::Version& each) { return each.version == nullptr; }))
    known = nullptr;
  CachedKeyPtr made;
  auto done = pool_.read(deadline(), [&](Connection& connection) -> Result<void> {
    for (;;) {
      const std::int64_t from =
          known != nullptr && !known->versions.empty() ? known->versions.back().number + 1 : 0;
      auto rows = connection.run(
          "SELECT " KMS_KEY_COLUMNS
          ", v.version, v.created_ms, v.sealed, v.wrapped_key, v.seal_id FROM kms_key k LEFT JOIN"
          " kms_key_version v ON v.name = k.name AND v.version >= $2 AND v.version < k.versions"
          " WHERE k.name = $1 ORDER BY v.version",
          Params().text(name).number(from));
      if (!rows.ok()) return std::move(rows).error();
      const bool another =
          known != nullptr && (rows->size() == 0 || rows->text(0, 1) != known->incarnation);
      if (another && from > 0) {
        known = nullptr;
        continue;
      }
      know_seals(connection, *rows, {kKeySeal, kVersionSeal});
      auto opened = open_rows(*rows, name, known);
      if (!opened.ok()) return std::move(opened).error();
      made = std::move(*opened);
      return {};
    }
  });
  if (!done.ok()) return std::move(done).error();
  return made;
}

const Error& TrusteeStore::damaged(const Error& error) const {
  log(LogLevel::error, "KMS0134", error.message);
  return error;
}

// Damage is part of what is kept: it is said once, and each use of the row gets the error.
Result<CachedKeyPtr> TrusteeStore::open_rows(const Rows& rows, std::string_view name,
                                             const CachedKeyPtr& known) {
  auto key = std::make_shared<CachedKey>();
  key->name = name;
  if (rows.size() == 0) return CachedKeyPtr(std::move(key));
  const KeyRow row = key_row(rows, 0);
  if (row.name != name) return Error(ErrorKind::corrupt, "The database gave another key");
  key->deleted = row.deleted_ms.has_value();
  if (key->deleted) return CachedKeyPtr(std::move(key));
  const auto safe = vault();
  key->incarnation = row.incarnation;
  auto good = safe->check(row);
  if (!good.ok() && good.error().kind == ErrorKind::unavailable) return std::move(good).error();
  auto metadata = metadata_of(row);
  if (!good.ok() || !metadata.ok()) {
    key->broken = damaged(good.ok() ? metadata.error() : good.error());
    return CachedKeyPtr(std::move(key));
  }
  key->metadata = std::move(*metadata);
  if (known != nullptr) key->versions = known->versions;
  for (int i = 0; i < rows.size(); ++i) {
    if (rows.is_null(i, kKeyColumns)) continue;
    const VersionRow stored = version_row(rows, i, kKeyColumns);
    CachedKey::Version version;
    version.number = stored.version;
    auto material = safe->open_version(row, stored);
    if (!material.ok() && material.error().kind == ErrorKind::unavailable)
      return std::move(material).error();
    auto opened = material.ok() ? version_for(row, stored.version, std::move(*material))
                                : Result<VersionPtr>(material.error());
    if (opened.ok())
      version.version = std::move(*opened);
    else if (opened.error().kind == ErrorKind::configuration)
      version.broken = opened.error();  // not ours, as each use of it says
    else
      version.broken = damaged(opened.error());
    key->versions.push_back(std::move(version));
  }
  return CachedKeyPtr(std::move(key));
}

Result<VersionPtr> TrusteeStore::version_of(const CachedKey& key, std::int32_t number) const {
  if (key.broken.has_value()) return *key.broken;
  const CachedKey::Version* found = key.find(number);
  if (found == nullptr) return VersionPtr();
  if (found->broken.has_value()) return *found->broken;
  return found->version;
}

Result<MetadataPtr> TrusteeStore::metadata(std::string_view name) {
  auto key = find(name);
  if (!key.ok()) return std::move(key).error();
  if ((*key)->broken.has_value()) return *(*key)->broken;
  return (*key)->metadata;
}

Result<VersionPtr> TrusteeStore::version(std::string_view version_name) {
  const auto base = base_name(version_name);
  const std::int32_t number = base.has_value() ? version_number(version_name) : -1;
  if (number < 0) return VersionPtr();
  auto key = find(*base);
  if (!key.ok()) return std::move(key).error();
  return version_of(**key, number);
}

Result<VersionPtr> TrusteeStore::current_version(std::string_view name) {
  auto key = find(name);
  if (!key.ok()) return std::move(key).error();
  const CachedKey& found = **key;
  return version_of(found, found.metadata != nullptr ? found.metadata->versions - 1 : -1);
}

Result<std::vector<VersionPtr>> TrusteeStore::versions(std::string_view name) {
  auto key = find(name);
  if (!key.ok()) return std::move(key).error();
  std::vector<VersionPtr> out;
  if ((*key)->broken.has_value()) return *(*key)->broken;
  for (const CachedKey::Version& each : (*key)->versions) {
    if (each.broken.has_value()) return *each.broken;
    out.push_back(each.version);
  }
  return out;
}

Result<void> TrusteeStore::invalidate(std::string_view name) {
  const jceks::FoldedAlias alias(name);
  shared_->publish(name_hash(alias.view()));
  absorb();
  return {};
}

}  // namespace kms::postgres
