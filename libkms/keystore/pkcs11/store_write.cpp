// SPDX-License-Identifier: Apache-2.0
// Changes: the order in which token and file learn of them, and what is done after a crash.
#include <algorithm>
#include <limits>

#include "core/clock.h"
#include "keystore/jceks/alias.h"
#include "keystore/pkcs11/store.h"
#include "keystore/pkcs11/token_objects.h"

namespace kms::pkcs11 {
namespace {

using jceks::FoldedAlias;

constexpr std::int64_t kMendEveryMs = 10'000;
// A call that was given up may still come true: an object that is not there yet is waited for.
constexpr std::int64_t kLateMs = 3'600'000;
// An older note may come from a restored backup, and the object be in use: people decide.
constexpr std::int64_t kOldMs = 24 * kLateMs;

void forget_pending(State& state, const std::string& id) {
  std::erase_if(state.pending, [&](const Pending& each) { return each.id == id; });
}

KeyRecord with_version(const KeyRecord& before, TokenVersionPtr version) {
  KeyRecord record = before;
  auto next = std::make_shared<KeyMetadata>(*before.metadata);
  next->versions = version->number + 1;
  record.metadata = std::move(next);
  record.versions.push_back(std::move(version));
  return record;
}

}  // namespace

// Note, object, file. The new version comes after those that the record says it has.
Result<VersionPtr> TokenStore::add_version(const WriteLock::Turn& turn, StatePtr base,
                                           const KeyRecord& before, const Approval& approval) {
  const KeyMetadata& metadata = *before.metadata;
  auto id = new_key_id(*base);
  if (!id.ok()) return std::move(id).error();
  auto version = std::make_shared<TokenVersion>();
  version->name = metadata.name;
  version->number = metadata.versions;
  version->version_name = version_name(metadata.name, version->number);
  version->created_ms = now_ms();
  KeyRef key{*id, version->version_name, metadata.bit_length, {}};

  State noted = *base;
  noted.pending.push_back({*id, key.label, false, now_ms()});
  auto with_note = file_.write(turn, *base, std::move(noted), nullptr, {});
  if (!with_note.ok()) return std::move(with_note).error();
  KMS_TRY(make_object(token_, key));
  version->key = std::make_shared<const KeyRef>(std::move(key));

  State next = **with_note;
  forget_pending(next, *id);
  next.keys.insert_or_assign(metadata.name, with_version(before, version));
  auto written = file_.write(turn, **with_note, std::move(next), version.get(), approval);
  if (written.ok()) return VersionPtr(version);
  // Where the new file is in place after all, though not durable, its object must stay.
  if (file_.latest()->file != (*with_note)->file) return std::move(written).error();
  // Else poll() does what cannot be done now.
  if (auto gone = destroy_object(token_, *id, version->version_name, token_.moment()); gone.ok())
    (void)file_.write(turn, **with_note, *base, nullptr, {}).ok();
  return std::move(written).error();
}

Result<VersionPtr> TokenStore::create(std::string_view name, const KeyOptions& options,
                                      const Secret* material, const Approval& approval) {
  if (material != nullptr) return refused_material();
  KMS_TRY(check_kind(options.cipher, options.bit_length));
  KMS_TRY(jceks::check_new_name(name));
  const auto check_free = [&](const State& state) -> Result<void> {
    if (state.find(name) == nullptr) return {};
    return Error(ErrorKind::io, "Key " + std::string(name) + " already exists in " + uri());
  };
  auto seen = file_.state();
  if (!seen.ok()) return std::move(seen).error();
  KMS_TRY(check_free(**seen));
  KMS_TRY(able_to_change(token_, check_only_));
  auto metadata = std::make_shared<KeyMetadata>();
  metadata->name = name;
  metadata->cipher = options.cipher;
  metadata->bit_length = options.bit_length;
  metadata->description = options.description;
  metadata->attributes = options.attributes;
  metadata->created_ms = now_ms();
  WriteLock::Turn turn(file_.lock());
  KMS_TRY(turn.take());
  auto base = file_.writable_base();
  if (!base.ok()) return std::move(base).error();
  KMS_TRY(check_free(**base));
  return add_version(turn, *base, {std::move(metadata), {}}, approval);
}

Result<VersionPtr> TokenStore::roll(std::string_view name, const Secret* material,
                                    const Approval& approval) {
  if (material != nullptr) return refused_material();
  const FoldedAlias alias(name);
  const auto find = [&](const State& state) -> Result<const KeyRecord*> {
    const KeyRecord* record = state.find(alias.view());
    if (record == nullptr)
      return Error(ErrorKind::io, "Can't find Metadata for key " + std::string(name));
    if (record->metadata->versions == std::numeric_limits<std::int32_t>::max())
      return Error(ErrorKind::io, "The key " + std::string(name) + " has no version number left");
    return record;
  };
  auto seen = file_.state();
  if (!seen.ok()) return std::move(seen).error();
  if (auto known = find(**seen); !known.ok()) return std::move(known).error();
  KMS_TRY(able_to_change(token_, check_only_));
  WriteLock::Turn turn(file_.lock());
  KMS_TRY(turn.take());
  auto base = file_.writable_base();
  if (!base.ok()) return std::move(base).error();
  auto record = find(**base);
  if (!record.ok()) return std::move(record).error();
  return add_version(turn, *base, **record, approval);
}

Result<VersionPtr> TokenStore::adopt(KeyRecord record) {
  KMS_TRY(able_to_change(token_, check_only_));
  WriteLock::Turn turn(file_.lock());
  KMS_TRY(turn.take());
  auto base = file_.writable_base();
  if (!base.ok()) return std::move(base).error();
  if ((*base)->find(record.metadata->name) != nullptr)
    return Error(ErrorKind::io, "Key " + record.metadata->name + " already exists in " + uri());
  return add_version(turn, *base, record, {});
}

// File, then objects. Nobody can use them any more once the file does not name them.
Result<void> TokenStore::remove(std::string_view name, const Approval& approval) {
  const FoldedAlias alias(name);
  const auto missing = [&] {
    return Error(ErrorKind::io, "Key " + std::string(name) + " does not exist in " + uri());
  };
  auto seen = file_.state();
  if (!seen.ok()) return std::move(seen).error();
  if ((*seen)->find(alias.view()) == nullptr) return missing();
  KMS_TRY(able_to_change(token_, check_only_));
  WriteLock::Turn turn(file_.lock());
  KMS_TRY(turn.take());
  auto base = file_.writable_base();
  if (!base.ok()) return std::move(base).error();
  const KeyRecord* record = (*base)->find(alias.view());
  if (record == nullptr) return missing();
  State next = **base;
  std::vector<TokenVersionPtr> objects = record->versions;
  std::erase_if(objects, [](const TokenVersionPtr& each) { return each->outside(); });
  for (const TokenVersionPtr& version : objects)
    next.pending.push_back({version->key->id, version->key->label, true, now_ms()});
  next.keys.erase(std::string(alias.view()));
  auto written = file_.write(turn, **base, std::move(next), nullptr, approval);
  if (!written.ok()) return std::move(written).error();
  State cleaned = **written;
  const Token::Moment since = token_.moment();
  for (const TokenVersionPtr& version : objects) {
    auto gone = destroy_object(token_, version->key->id, version->key->label, since);
    if (!gone.ok()) break;  // poll() goes on
    forget_pending(cleaned, version->key->id);
  }
  (void)file_.write(turn, **written, std::move(cleaned), nullptr, {}).ok();
  return {};
}

// Whether the note is done with.
bool TokenStore::mend(const Pending& pending, Token::Moment since) {
  const std::int64_t age = now_ms() - pending.since_ms;
  if (age > kOldMs) return false;
  const auto seen = sees_object(token_, pending.id);
  if (!seen.ok()) return false;
  if (!*seen && !pending.destroy && age <= kLateMs) return false;
  // Also what is not seen: before the note goes somebody looks anew.
  auto gone = destroy_object(token_, pending.id, pending.label, since);
  if (!gone.ok() || *gone == kKeyDiffers) {
    log(LogLevel::error, "KMS0156",
        "the object " + pending.label + " of an interrupted change cannot be destroyed: " +
            (gone.ok() ? std::string("another object has its id") : gone.error().message));
    return false;
  }
  if (*gone == CKR_OK)
    log(LogLevel::notice, "KMS0157",
        "the object " + pending.label + " of an interrupted " +
            (pending.destroy ? "deletion" : "creation") + " was destroyed");
  return true;
}

// What a process left that died between token and file. Its lock is free, so it is not at work.
void TokenStore::mend_pending() {
  if (file_.latest()->pending.empty() || !token_.ready() || steady_ms() < next_mending_ms_) return;
  next_mending_ms_ = steady_ms() + kMendEveryMs;
  WriteLock::Turn turn(file_.lock(), 0);
  if (!turn.take().ok()) return;
  auto base = file_.writable_base();
  if (!base.ok()) return;
  State next = **base;
  const Token::Moment since = token_.moment();
  std::erase_if(next.pending, [&](const Pending& each) { return mend(each, since); });
  if (next.pending.size() != (*base)->pending.size())
    (void)file_.write(turn, **base, std::move(next), nullptr, {}).ok();
}

}  // namespace kms::pkcs11
