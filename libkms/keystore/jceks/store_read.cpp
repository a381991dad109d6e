// SPDX-License-Identifier: Apache-2.0
// Lookups. Nothing here takes a lock once an entry is open.
#include <algorithm>
#include <array>
#include <charconv>

#include "keystore/jceks/alias.h"
#include "keystore/jceks/modified_utf8.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {
namespace {

constexpr std::string_view kMetadataIsNoKey =
    "java.lang.ClassCastException: class "
    "org.apache.hadoop.crypto.key.JavaKeyStoreProvider$KeyMetadata cannot be cast to class "
    "javax.crypto.spec.SecretKeySpec "
    "(org.apache.hadoop.crypto.key.JavaKeyStoreProvider$KeyMetadata "
    "is in unnamed module of loader 'app'; javax.crypto.spec.SecretKeySpec is in module java.base "
    "of "
    "loader 'bootstrap')";

// NAME@N without the heap for names of usual length.
class VersionAlias {
 public:
  VersionAlias(std::string_view name, std::int32_t number) {
    char digits[16];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    const std::string_view suffix(digits, static_cast<std::size_t>(end - digits));
    if (name.size() + 1 + suffix.size() <= small_.size()) {
      char* p = std::copy(name.begin(), name.end(), small_.begin());
      *p++ = '@';
      p = std::copy(suffix.begin(), suffix.end(), p);
      view_ = {small_.data(), static_cast<std::size_t>(p - small_.data())};
    } else {
      large_.append(name).append("@").append(suffix);
      view_ = large_;
    }
  }
  VersionAlias(const VersionAlias&) = delete;
  VersionAlias& operator=(const VersionAlias&) = delete;
  std::string_view view() const { return view_; }

 private:
  std::array<char, 256> small_;
  std::string large_;
  std::string_view view_;
};

// N of an alias PREFIXN, in the spelling that version names have; -1 for anything else.
std::int32_t number_after(std::string_view alias, std::string_view prefix) {
  if (!alias.starts_with(prefix)) return -1;
  const std::string_view digits = alias.substr(prefix.size());
  if (digits.empty() || (digits.size() > 1 && digits[0] == '0')) return -1;
  std::int32_t n = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  return error == std::errc() && end == digits.data() + digits.size() ? n : -1;
}

}  // namespace

const Opened& JceksStore::open(const Entry& entry) {
  if (const Opened* known = entry.peek()) return *known;
  bool first = false;
  const Opened& opened = entry.open(password_, first);
  if (first && opened.kind == Opened::Kind::broken)
    log(LogLevel::error, "KMS0114",
        about(options_.path,
              "the entry " + to_utf8(entry.raw().alias) + " cannot be opened: " + opened.why));
  return opened;
}

Error JceksStore::unreadable(std::string_view what, const Opened& opened) const {
  return Error(ErrorKind::corrupt,
               "Can't recover key " + std::string(what) + file_uri() + ": " + opened.why);
}

// The metadata entry of a key; null when there is none of this name.
Result<const Entry*> JceksStore::hadoop_key(const Snapshot& s, std::string_view name) {
  const FoldedAlias alias(name);
  const Entry* entry = s.find(alias.view());
  if (entry == nullptr) return entry;
  const Opened& opened = open(*entry);
  if (opened.kind == Opened::Kind::metadata) return entry;
  if (opened.kind == Opened::Kind::broken)
    return unreadable("for " + std::string(name) + " from keystore ", opened);
  return Error(ErrorKind::io,
               "Can't cast key for " + std::string(name) + " in keystore " + file_uri() +
                   " to a KeyMetadata. Key may have been added using  keytool or some other "
                   "non-Hadoop method.");
}

// alias is folded.
Result<VersionPtr> JceksStore::version_of(const Snapshot& s, std::string_view alias) {
  const Entry* entry = s.find(alias);
  if (entry == nullptr) return VersionPtr();
  const Opened& opened = open(*entry);
  switch (opened.kind) {
    case Opened::Kind::version:
      if (alias.find('@') == std::string_view::npos)
        return Error(ErrorKind::io, "No version in key path " + std::string(alias));
      return opened.version;
    case Opened::Kind::metadata:
      return Error(ErrorKind::wrong_type, std::string(kMetadataIsNoKey));
    case Opened::Kind::foreign:
      return Error(ErrorKind::io,
                   "The entry " + std::string(alias) + " of " + file_uri() + " is no secret key");
    case Opened::Kind::broken:
      break;
  }
  return unreadable(std::string(alias) + " from ", opened);
}

Result<std::vector<std::string>> JceksStore::names() {
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  const Snapshot& s = **seen;
  std::vector<std::string> out;
  for (const auto& [alias, entry] : s.entries)
    if (alias.find('@') == std::string::npos) out.push_back(to_utf8(alias));
  std::sort(out.begin(), out.end());
  return out;
}

Result<MetadataPtr> JceksStore::metadata(std::string_view name) {
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  auto key = hadoop_key(**seen, name);
  if (!key.ok()) return std::move(key).error();
  return *key != nullptr ? (*key)->peek()->metadata : MetadataPtr();
}

Result<VersionPtr> JceksStore::version(std::string_view version_name) {
  const FoldedAlias alias(version_name);
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  return version_of(**seen, alias.view());
}

Result<VersionPtr> JceksStore::current_version(std::string_view name) {
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  const Snapshot& s = **seen;
  auto key = hadoop_key(s, name);
  if (!key.ok()) return std::move(key).error();
  if (*key == nullptr) return VersionPtr();
  const VersionAlias alias((*key)->raw().alias, (*key)->peek()->stored.versions - 1);
  return version_of(s, alias.view());
}

// Oldest first; numbers without an entry are left out. A count that no keystore could hold costs
// nothing.
std::vector<const Entry*> JceksStore::version_entries(const Snapshot& s, std::string_view alias,
                                                      std::int32_t count) {
  std::vector<const Entry*> out;
  if (count <= 64) {
    for (std::int32_t i = 0; i < count; ++i)
      if (const Entry* entry = s.find(VersionAlias(alias, i).view())) out.push_back(entry);
    return out;
  }
  const std::string prefix = std::string(alias) + "@";
  std::vector<std::pair<std::int32_t, const Entry*>> found;
  for (const auto& [each, entry] : s.entries) {
    const std::int32_t n = number_after(each, prefix);
    if (n >= 0 && n < count) found.emplace_back(n, entry.get());
  }
  std::sort(found.begin(), found.end());
  for (const auto& [n, entry] : found) out.push_back(entry);
  return out;
}

Result<std::vector<VersionPtr>> JceksStore::versions(std::string_view name) {
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  const Snapshot& s = **seen;
  auto key = hadoop_key(s, name);
  if (!key.ok()) return std::move(key).error();
  std::vector<VersionPtr> out;
  if (*key == nullptr) return out;
  for (const Entry* entry :
       version_entries(s, (*key)->raw().alias, (*key)->peek()->stored.versions)) {
    auto version = version_of(s, entry->raw().alias);
    if (!version.ok()) return std::move(version).error();
    out.push_back(std::move(*version));
  }
  return out;
}

// As names() tells them apart.
KeyStoreSize JceksStore::size() {
  SnapshotPtr snapshot;
  {
    const std::lock_guard hold(state_mutex_);
    snapshot = current_;
  }
  KeyStoreSize size;
  for (const auto& [alias, entry] : snapshot->entries)
    ++(alias.find('@') == std::string::npos ? size.keys : size.versions);
  return size;
}

}  // namespace kms::jceks
