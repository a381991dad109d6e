// SPDX-License-Identifier: Apache-2.0
// A new version of a key. It is sealed for the key as it is seen before the locks are taken; if the
// key turns out to be another one then, what differs is sealed again.
#include <limits>
#include <optional>

#include "keystore/jceks/keygen.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {

class JceksStore::Roll {
 public:
  Roll(JceksStore& store, std::string_view name, const Secret* given)
      : store_(store), name_(name), given_(given) {}

  // Seals for the key as s has it; costs nothing when that was done already.
  Result<void> prepare(const Snapshot& s) {
    auto key = store_.hadoop_key(s, name_);
    if (!key.ok()) return std::move(key).error();
    if (*key == nullptr)
      return Error(ErrorKind::io, given_ != nullptr ? "Key " + name_ + " not found"
                                                    : "Can't find Metadata for key " + name_);
    if (*key == prepared_for_.get()) return {};
    const StoredMetadata& now = (*key)->peek()->stored;
    if (now.versions < 0 || now.versions == std::numeric_limits<std::int32_t>::max())
      return Error(ErrorKind::io, "The key " + name_ + " has no version number left");
    KMS_TRY(prepare_version(now));
    next_ = now;
    ++next_.versions;
    auto sealed = store_.seal_metadata(next_);
    if (!sealed.ok()) return std::move(sealed).error();
    sealed_metadata_ = std::move(*sealed);
    prepared_for_ = s.entries.find((*key)->raw().alias)->second;
    return {};
  }

  Result<Change> apply(const Snapshot& s) {
    KMS_TRY(prepare(s));
    const std::string alias = prepared_for_->raw().alias;
    const std::string version = version_name(alias, next_.versions - 1);
    // Java would write over it: a key whose own name is that, or one that keytool made.
    if (s.find(version) != nullptr)
      return Error(ErrorKind::io, "Key " + version + " already exists in " + store_.uri());
    made_ = version_entry(version, sealed_version_, material());
    return Change{{made_, metadata_entry(alias, sealed_metadata_, next_)}, {}, made()};
  }

  VersionPtr made() const { return made_->peek()->version; }

 private:
  const Secret& material() const { return given_ != nullptr ? *given_ : generated_; }

  // What is sealed for a version depends on cipher and length of the key only, not on its number.
  Result<void> prepare_version(const StoredMetadata& key) {
    if (prepared_for_ != nullptr && next_.cipher == key.cipher &&
        next_.bit_length == key.bit_length)
      return {};
    if (given_ == nullptr) {
      auto made = generate_material(key.cipher.value_or(""), key.bit_length);
      if (!made.ok()) return std::move(made).error();
      generated_ = std::move(*made);
    }
    KMS_TRY(check_length(key.bit_length, material()));
    if (!key.cipher.has_value()) return Error(ErrorKind::io, "Missing argument");
    auto sealed = store_.seal_version(key, material());
    if (!sealed.ok()) return std::move(sealed).error();
    sealed_version_ = std::move(*sealed);
    return {};
  }

  JceksStore& store_;
  const std::string name_;
  const Secret* const given_;
  Secret generated_;
  EntryPtr prepared_for_;
  StoredMetadata next_;
  Bytes sealed_version_, sealed_metadata_;
  EntryPtr made_;
};

Result<VersionPtr> JceksStore::roll(std::string_view name, const Secret* material,
                                    const Approval& approval) {
  Roll roll(*this, name, material);
  auto seen = snapshot();
  if (!seen.ok()) return std::move(seen).error();
  KMS_TRY(roll.prepare(**seen));
  KMS_TRY(commit([&](const Snapshot& s) { return roll.apply(s); }, approval));
  return roll.made();
}

}  // namespace kms::jceks
