// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "core/secret.h"
#include "keystore/jceks/container.h"
#include "keystore/jceks/gson.h"
#include "keystore/keystore.h"

namespace kms::jceks {

// What an entry turned out to hold.
struct Opened {
  enum class Kind {
    metadata,  // of a Hadoop key
    version,   // key material
    foreign,   // private key or certificate
    broken     // cannot be opened; why says it
  };
  Kind kind = Kind::broken;
  StoredMetadata stored;  // metadata
  MetadataPtr metadata;   // the same for callers
  VersionPtr version;     // version; its name is empty when the alias has no '@'
  std::string why;
};

// An entry of the keystore as it is sealed in the file. It is immutable and shared between the
// snapshots of a store; it is opened when first needed, by one thread, and stays open.
class Entry {
 public:
  explicit Entry(RawEntry raw) : raw_(std::move(raw)) {}
  // An entry that this process made itself and need not open.
  Entry(RawEntry raw, Opened opened);
  ~Entry() { delete opened_.load(std::memory_order_relaxed); }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  const RawEntry& raw() const noexcept { return raw_; }
  bool same_as(const RawEntry& other) const noexcept;

  // The contents, if they are known already.
  const Opened* peek() const noexcept { return opened_.load(std::memory_order_acquire); }
  // The contents. first is set when this call is the one that opened it; a failure to open is kept
  // like a success.
  const Opened& open(const Secret& password, bool& first) const;

 private:
  RawEntry raw_;
  mutable std::mutex opening_;
  mutable std::atomic<const Opened*> opened_{nullptr};
};

using EntryPtr = std::shared_ptr<const Entry>;

// Contents of a new metadata or version entry under this alias.
Opened opened_metadata(const std::string& alias, StoredMetadata stored);
Opened opened_version(const std::string& alias, Secret material);

}  // namespace kms::jceks
