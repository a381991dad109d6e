// SPDX-License-Identifier: Apache-2.0
// Versions whose keys are in a token, of a store on top of this one: what is sealed of them is a
// reference. The database is where it is decided whether a version refers to an object or nobody
// does: a note of the object and a version with a reference to it exclude each other.
#include "core/clock.h"
#include "keystore/jceks/keygen.h"
#include "keystore/key_reference.h"
#include "keystore/postgres/record_table.h"
#include "keystore/postgres/statements.h"
#include "keystore/postgres/write.h"

namespace kms::postgres {
namespace {

Error in_a_token(const std::string& version) {
  return Error(ErrorKind::configuration,
               "The key " + version +
                   " is in an HSM: it is of use to a provider hsm:// with this store as "
                   "hadoop.kms.hsm.metadata.uri, and not to trustee://");
}

}  // namespace

Result<VersionPtr> TrusteeStore::version_for(const KeyRow& row, std::int32_t number,
                                             Secret content) const {
  KeyVersion sealed{row.name, version_name(row.name, number), std::move(content)};
  if (access_.maker) return access_.maker(std::move(sealed), row.bit_length);
  if (is_reference(sealed.material.view(), row.bit_length)) return in_a_token(sealed.version_name);
  return VersionPtr(std::make_shared<const KeyVersion>(std::move(sealed)));
}

Result<void> TrusteeStore::check_content(std::int32_t bits, const Secret& content) const {
  if (access_.maker && is_reference(content.view(), bits)) return {};
  return jceks::check_length(bits, content);
}

// In the transaction that writes the version. Who wants to destroy the object changes the note
// first, and so one of both waits for the other, and then fails.
Result<void> TrusteeStore::take_note(Connection& connection, const KeyRow& row, std::int32_t number,
                                     const Secret& content) const {
  if (!is_reference(content.view(), row.bit_length)) return {};
  auto reference = parse_reference(content.view());
  if (!reference.ok()) return std::move(reference).error();
  if (reference->label != version_name(row.name, number))
    return Error(ErrorKind::unavailable,
                 "The key " + row.name + " was changed by somebody else in the same moment");
  auto taken = connection.run(
      "DELETE FROM kms_record WHERE kind = $1 AND number = $2 AND revision = $3",
      Params().text(kHsmPending).number(note_number(reference->id)).number(kBeingMade));
  if (!taken.ok()) return std::move(taken).error();
  if (taken->changed() == 1) return {};
  return Error(ErrorKind::unavailable,
               "The object " + reference->label +
                   " in the HSM was taken for one of an interrupted change: it took too long");
}

// In the transaction that takes the versions away: from then on their objects are to be destroyed.
// One that cannot be opened leaves its object behind, which 'kmsctl hsm reconcile' finds.
Result<void> TrusteeStore::leave_notes(Connection& connection, const KeyRow& row, Write& write) {
  auto rows = connection.run(
      "SELECT version, created_ms, sealed, wrapped_key, seal_id FROM kms_key_version"
      " WHERE name = $1",
      Params().text(row.name));
  if (!rows.ok()) return std::move(rows).error();
  know_seals(connection, *rows, {4});
  const auto safe = vault();
  for (int i = 0; i < rows->size(); ++i) {
    const VersionRow version = version_row(*rows, i, 0);
    auto content = safe->open_version(row, version);
    if (!content.ok() && content.error().kind == ErrorKind::unavailable)
      return std::move(content).error();
    if (!content.ok()) {
      (void)damaged(content.error());
      continue;
    }
    if (!is_reference(content->view(), row.bit_length)) continue;
    if (!access_.maker) return in_a_token(version_name(row.name, version.version));
    auto reference = parse_reference(content->view());
    if (!reference.ok()) return std::move(reference).error();
    RecordRow note{
        std::string(kHsmPending), note_number(reference->id), now_ms(), kToBeDestroyed, {}, {}, {}};
    KMS_TRY(safe->seal_record(note, *content));
    write.sealed_by(note.seal_id);
    if (auto noted = insert_record(connection, note); !noted.ok()) return std::move(noted).error();
  }
  return {};
}

// A roll would make a version that was never in the token.
Result<void> TrusteeStore::check_all_here(std::string_view name) {
  if (access_.maker) return {};
  auto known = find(name);
  if (!known.ok()) return {};  // what is wrong is said by the change itself
  for (const CachedKey::Version& each : (*known)->versions)
    if (each.broken.has_value() && each.broken->kind == ErrorKind::configuration)
      return *each.broken;
  return {};
}

}  // namespace kms::postgres
