// SPDX-License-Identifier: Apache-2.0
// Changes: the order in which token and shared store learn of them, and what is done after a crash.
#include <limits>

#include "core/clock.h"
#include "crypto/random.h"
#include "keystore/jceks/alias.h"
#include "keystore/pkcs11/shared_store.h"
#include "keystore/pkcs11/token_objects.h"

namespace kms::pkcs11 {
namespace {

constexpr std::int64_t kMendEveryMs = 10'000;
constexpr int kMostAtOnce = 200;  // notes of one mending
// A call that was given up may still come true: an object that is not there yet is waited for.
constexpr std::int64_t kLateMs = 3'600'000;
// An older note may come from a restored database, and the object be in use: people decide.
constexpr std::int64_t kOldMs = 24 * kLateMs;
constexpr int kMostTries = 10;  // of a version number that others take in the same moment

Error exists(std::string_view name, const std::string& uri, const char* more = "") {
  return Error(ErrorKind::io, "Key " + std::string(name) + " already exists in " + uri + more);
}

// As long as whoever makes it may be at work: to write the note, for the object, for the version.
std::int64_t grace_ms(const StoreOptions& options) {
  return options.hsm.timeout_ms + 2 * options.trustee.timeout_ms;
}

}  // namespace

Result<std::string> shared_store_id(Records& records, bool make) {
  auto found = records.find(kHsmStore, 0);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr && make) {
    Record first;
    first.content = Secret(kStoreIdSize);
    KMS_TRY(fill_public({first.content.data(), first.content.size()}));
    if (auto put = records.put(kHsmStore, first); !put.ok()) return std::move(put).error();
    found = records.read(kHsmStore, 0);  // mine, or that of who was first
    if (!found.ok()) return std::move(found).error();
  }
  if (*found == nullptr && !make) return std::string();
  if (*found == nullptr || (*found)->content.size() != kStoreIdSize)
    return Error(ErrorKind::corrupt, "The record with the id of the store is no id");
  return std::string(as_text((*found)->content.view()));
}

Result<std::string> SharedStore::new_id() {
  auto id = shared_store_id(*base_->records(), true);
  if (!id.ok()) return id;
  Bytes random(kKeyIdSize - kStoreIdSize);
  KMS_TRY(fill_public(random));
  return *id + std::string(as_text(random));
}

// Note, object. What is returned has to get a version, or to be taken back.
Result<KeyReference> SharedStore::make_object(std::string label, std::int32_t bits) {
  auto id = new_id();
  if (!id.ok()) return std::move(id).error();
  KeyReference reference{std::move(*id), std::move(label), bits, {}};
  Record note;
  note.number = note_number(reference.id);
  note.expires_ms = now_ms();
  note.content = encode_reference(reference);
  auto noted = base_->records()->put(kHsmPending, note);
  if (!noted.ok()) return std::move(noted).error();
  if (!*noted) return Error(ErrorKind::unavailable, "The id of a new object is taken; try again");
  KeyRef key{reference.id, reference.label, bits, {}};
  KMS_TRY(pkcs11::make_object(token_, key));  // else it is mended later
  reference.check = std::move(key.check);
  return reference;
}

Result<bool> claim_note(Records& records, const Record& note) {
  Record mine;
  mine.number = note.number;
  mine.expires_ms = note.expires_ms;
  mine.revision = note.revision;
  mine.content = note.content.clone();
  return records.put(kHsmPending, mine);
}

// Of a version that was not committed, or of which that is not known. What cannot be done now is
// mended later.
void SharedStore::take_back(const KeyReference& object) {
  Record note;
  note.number = note_number(object.id);
  note.expires_ms = now_ms();
  note.revision = kBeingMade;
  note.content = encode_reference(object);
  auto claimed = claim_note(*base_->records(), note);
  if (!claimed.ok() || !*claimed) return;
  auto gone = destroy_object(token_, object.id, object.label, token_.moment());
  if (gone.ok() && *gone != kKeyDiffers)
    (void)base_->records()->remove(kHsmPending, note.number).ok();
}

Result<void> SharedStore::check_free(std::string_view name) {
  auto known = base_->metadata(name);
  if (!known.ok()) return std::move(known).error();
  if (*known != nullptr) return exists(name, uri());
  auto deleted = base_->deleted_key(name);
  if (!deleted.ok()) return std::move(deleted).error();
  if (!deleted->has_value()) return {};
  return exists(name, uri(), ": it was deleted, and is kept until it is purged");
}

Result<VersionPtr> SharedStore::create(std::string_view name, const KeyOptions& options,
                                       const Secret* material, const Approval& approval) {
  if (material != nullptr) return refused_material();
  KMS_TRY(check_kind(options.cipher, options.bit_length));
  KMS_TRY(jceks::check_new_name(name));
  KMS_TRY(check_free(name));
  KMS_TRY(able_to_change(token_, check_only_));
  auto object = make_object(version_name(name, 0), options.bit_length);
  if (!object.ok()) return std::move(object).error();
  const Secret reference = encode_reference(*object);
  auto made = base_->create(name, options, &reference, approval);
  if (!made.ok()) take_back(*object);
  return made;
}

// The object has the number of its version in its label, so it is made again when somebody else
// was first.
Result<VersionPtr> SharedStore::roll(std::string_view name, const Secret* material,
                                     const Approval& approval) {
  if (material != nullptr) return refused_material();
  for (int tries = 1;; ++tries) {
    auto found = base_->metadata(name);
    if (!found.ok()) return std::move(found).error();
    const MetadataPtr before = *found;
    if (before == nullptr)
      return Error(ErrorKind::io, "Can't find Metadata for key " + std::string(name));
    KMS_TRY(check_key_use(before->name, before->state, KeyUse::roll));
    KMS_TRY(check_kind(before->cipher, before->bit_length));
    if (before->versions == std::numeric_limits<std::int32_t>::max())
      return Error(ErrorKind::io, "The key " + std::string(name) + " has no version number left");
    KMS_TRY(able_to_change(token_, check_only_));
    auto object = make_object(version_name(before->name, before->versions), before->bit_length);
    if (!object.ok()) return std::move(object).error();
    const Secret reference = encode_reference(*object);
    auto made = base_->roll(name, &reference, approval);
    if (made.ok()) return made;
    take_back(*object);
    KMS_TRY(base_->invalidate(name));
    auto now = base_->metadata(name);
    const bool others = now.ok() && *now != nullptr && (*now)->versions != before->versions;
    if (!others || tries == kMostTries || made.error().kind != ErrorKind::unavailable) return made;
  }
}

// Shared store, then objects. Nobody can use them any more once it does not name them.
Result<void> SharedStore::purge(std::string_view name, const Approval& approval) {
  KMS_TRY(base_->purge(name, approval));
  destroy_left();
  return {};
}

// What cannot be done now is mended later.
void SharedStore::destroy_left() {
  if (!token_.ready()) return;
  auto notes = base_->records()->read_all(kHsmPending);
  if (!notes.ok()) return;
  const Token::Moment since = token_.moment();
  for (const RecordPtr& note : *notes) {
    auto object = parse_reference(note->content.view());
    if (!object.ok() || note->revision < kToBeDestroyed || object->check.empty()) continue;
    auto gone = destroy_object(token_, object->id, object->label, since);
    if (gone.ok() && *gone != kKeyDiffers)
      (void)base_->records()->remove(kHsmPending, note->number).ok();
  }
}

// It cannot be, but for a database that somebody put together.
bool SharedStore::is_referred_to(const KeyReference& object) {
  const auto name = base_name(object.label);
  if (!name || !base_->invalidate(*name).ok()) return true;
  auto found = base_->version(object.label);
  if (!found.ok()) return found.error().kind == ErrorKind::unavailable;
  const auto* version = static_cast<const SharedVersion*>(found->get());
  return version != nullptr && version->key != nullptr && version->key->id == object.id;
}

// Also what is not seen: before the note goes somebody looks anew.
void SharedStore::finish(const Record& note, const KeyReference& object, Token::Moment since) {
  const bool made = !object.check.empty();
  const auto seen = sees_object(token_, object.id);
  if (!seen.ok()) return;
  if (!*seen && !made && now_ms() < note.expires_ms + kLateMs) return;
  auto gone = destroy_object(token_, object.id, object.label, since);
  if (!gone.ok() || *gone == kKeyDiffers) {
    log(LogLevel::error, "KMS0163",
        "the object " + object.label + " of an interrupted change cannot be destroyed: " +
            (gone.ok() ? std::string("another object has its id") : gone.error().message));
    return;
  }
  if (*gone == CKR_OK)
    log(LogLevel::notice, "KMS0164",
        "the object " + object.label + " of an interrupted " + (made ? "change" : "creation") +
            " was destroyed");
  (void)base_->records()->remove(kHsmPending, note.number).ok();
}

void SharedStore::mend(const Record& note, Token::Moment since) {
  const std::int64_t age = now_ms() - note.expires_ms;
  auto object = parse_reference(note.content.view());
  if (!object.ok() || age > kOldMs) return;
  if (note.revision == kBeingMade) {
    if (age < grace_ms(options_)) return;
    auto claimed = claim_note(*base_->records(), note);
    if (!claimed.ok() || !*claimed) return;
  }
  if (!is_referred_to(*object)) finish(note, *object, since);
}

// One of the children of an httpd at a time.
void SharedStore::mend_pending() {
  if (!token_.ready() || base_->condition().state != HealthState::good) return;
  std::atomic<std::uint64_t>& next = **next_mending_;
  const std::int64_t now = steady_ms();
  std::uint64_t due = next.load();
  if (now < static_cast<std::int64_t>(due) ||
      !next.compare_exchange_strong(due, static_cast<std::uint64_t>(now + kMendEveryMs)))
    return;
  auto notes = base_->records()->read_all(kHsmPending);
  if (!notes.ok()) return;  // the shared store says what is wrong with it
  const Token::Moment since = token_.moment();
  int done = 0;
  for (const RecordPtr& note : *notes)
    if (done++ < kMostAtOnce) mend(*note, since);
}

}  // namespace kms::pkcs11
