// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/entry.h"

#include "keystore/jceks/key_codec.h"
#include "keystore/jceks/modified_utf8.h"

namespace kms::jceks {
namespace {

Opened open_raw(const RawEntry& raw, const Secret& password) {
  Opened out;
  if (raw.tag != EntryTag::secret_key) {
    out.kind = Opened::Kind::foreign;
    return out;
  }
  auto key = unseal_key(raw.body, password.view());
  if (!key.ok()) {
    out.why = key.error().message;
    return out;
  }
  if (auto* stored = std::get_if<StoredMetadata>(&*key))
    return opened_metadata(raw.alias, std::move(*stored));
  return opened_version(raw.alias, std::move(std::get<SecretKey>(*key).material));
}

}  // namespace

Opened opened_metadata(const std::string& alias, StoredMetadata stored) {
  Opened out;
  out.kind = Opened::Kind::metadata;
  out.metadata = std::make_shared<const KeyMetadata>(stored.to_metadata(to_utf8(alias)));
  out.stored = std::move(stored);
  return out;
}

Opened opened_version(const std::string& alias, Secret material) {
  Opened out;
  out.kind = Opened::Kind::version;
  const std::string full = to_utf8(alias);
  const std::string base(base_name(full).value_or(""));
  out.version = std::make_shared<const KeyVersion>(KeyVersion{base, full, std::move(material)});
  return out;
}

Entry::Entry(RawEntry raw, Opened opened)
    : raw_(std::move(raw)), opened_(new Opened(std::move(opened))) {}

bool Entry::same_as(const RawEntry& other) const noexcept {
  return raw_.tag == other.tag && raw_.date_ms == other.date_ms && raw_.body == other.body;
}

const Opened& Entry::open(const Secret& password, bool& first) const {
  first = false;
  if (const Opened* known = peek()) return *known;
  const std::lock_guard hold(opening_);
  if (const Opened* known = peek()) return *known;
  auto opened = std::make_unique<Opened>(open_raw(raw_, password));
  first = true;
  opened_.store(opened.get(), std::memory_order_release);
  return *opened.release();
}

}  // namespace kms::jceks
