// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/write.h"

#include "crypto/base64.h"
#include "crypto/random.h"
#include "keystore/jceks/alias.h"
#include "keystore/postgres/statements.h"

namespace kms::postgres {
namespace {

constexpr std::int64_t kTrimEvery = 500;

}  // namespace

bool is_deleted(const Rows& rows) {
  return rows.size() == 1 && !rows.is_null(0, 8);
}

bool is_there(const Rows& rows) {
  return rows.size() == 1 && !is_deleted(rows);
}

std::string folded(std::string_view asked) {
  return std::string(jceks::FoldedAlias(asked).view());
}

Result<KeyRow> TrusteeStore::checked_row(const Rows& rows) {
  KeyRow row = key_row(rows, 0);
  KMS_TRY(vault()->check(row));
  return row;
}

// The row is locked; the revision before and incarnation are for engines that take that lightly.
Result<void> TrusteeStore::update_row(Connection& connection, KeyRow& row) {
  const std::int64_t before = row.revision++;
  KMS_TRY(vault()->seal(row));
  Params params;
  params.number(row.versions).number(row.revision).bytes(row.tag).text(row.state);
  if (row.deleted_ms.has_value())
    params.number(*row.deleted_ms);
  else
    params.null();
  params.text(row.name).number(before).text(row.incarnation);
  auto done = connection.run(
      "UPDATE kms_key SET versions = $1, revision = $2, tag = $3, state = $4, deleted_ms = $5"
      " WHERE name = $6 AND revision = $7 AND incarnation = $8",
      params);
  if (!done.ok()) return std::move(done).error();
  if (done->changed() == 1) return {};
  return Error(ErrorKind::unavailable,
               "The key " + row.name + " was changed by somebody else in the same moment");
}

Result<void> TrusteeStore::Write::run_on_row(const RowBody& body) {
  return run([&](Connection& connection) -> Result<VersionPtr> {
    auto rows =
        connection.run("SELECT " KMS_KEY_COLUMNS " FROM kms_key k WHERE k.name = $1 FOR UPDATE",
                       Params().text(name_));
    if (!rows.ok()) return std::move(rows).error();
    store_.know_seals(connection, *rows, {kKeySeal});
    return body(connection, *rows);
  });
}

Result<void> TrusteeStore::Write::run(const Body& body) {
  if (store_.check_only_)
    return Error(ErrorKind::unsupported, "The keystore was opened for a check only");
  Bytes random(17);
  KMS_TRY(fill_public(random));
  shard_ = random[16] % kShards;
  operation_ = base64url_encode(ByteView(random).first(16));
  const Deadline deadline = store_.deadline();
  auto done = attempt(deadline, body);
  // Nothing was written by then.
  if (!done.ok() && seal_changed_) done = attempt(deadline, body);
  // Once a commit was tried it may have been carried out whatever became of it, so memory is not to
  // be trusted. What failed before leaves memory alone: it may be all there is for now.
  if (approved_.has_value()) store_.shared_->publish(name_hash(name_));
  if (done.ok() && counter_ % kTrimEvery == 0) trim_log();
  return done;
}

Result<void> TrusteeStore::Write::attempt(Deadline deadline, const Body& body) {
  return store_.pool_.transaction(
      deadline,
      [&](Connection& connection) -> Result<void> {
        seal_changed_ = false;
        auto fresh = body(connection);
        if (!fresh.ok()) return std::move(fresh).error();
        KMS_TRY(take_number(connection));
        return approve(*fresh);
      },
      [&](Connection& connection) { return was_carried_out(connection); });
}

// The row of the shard stays locked until the commit. What the server promises about commits is
// looked at here, since a failover may change it.
Result<void> TrusteeStore::Write::take_number(Connection& connection) {
  auto rows = connection.run(
      "UPDATE kms_change SET counter = counter + 1 WHERE shard = $1 RETURNING counter,"
      " COALESCE(current_setting('synchronous_commit', true), ''),"
      " current_setting('synchronous_standby_names', true)",
      Params().number(shard_));
  if (!rows.ok()) return std::move(rows).error();
  if (rows->size() != 1) return Error(ErrorKind::corrupt, "kms_change does not have its rows");
  const bool standby =
      store_.access_.options.require_standby && !rows->is_null(0, 2) && !store_.replicates_;
  const std::string problem = commit_problem(rows->text(0, 1), rows->text(0, 2), standby);
  if (!problem.empty()) return Error(ErrorKind::unavailable, "Changes are refused: " + problem);
  counter_ = rows->number(0, 0);
  // Whoever takes a sealing key's trust away holds the shards until that is committed, and sees
  // what was written before: so no row stays behind under a key that is not trusted.
  const std::string seal_id = seal_id_.empty() ? store_.vault()->seal_id() : seal_id_;
  auto noted = connection.run(
      "INSERT INTO kms_change_log (shard, counter, name, operation)"
      " SELECT $1::integer, $2::bigint, $3::text, $4::text"
      " WHERE EXISTS (SELECT 1 FROM kms_seal WHERE seal_id = $5)",
      Params().number(shard_).number(counter_).text(name_).text(operation_).text(seal_id));
  if (!noted.ok()) return std::move(noted).error();
  if (noted->changed() == 1) return {};
  (void)store_.open_vault(connection);
  seal_changed_ = store_.vault()->seal_id() != seal_id;
  return Error(
      ErrorKind::unavailable,
      "Changes are refused: the store does not trust the sealing key " + seal_id + " any more");
}

// The last word, once: a second attempt at the same change does not ask again, and one that would
// make another version than the one that was approved is given up.
Result<void> TrusteeStore::Write::approve(const VersionPtr& fresh) {
  const std::string version = fresh != nullptr ? fresh->version_name : std::string();
  if (approved_.has_value()) {
    if (*approved_ == version) return {};
    return Error(ErrorKind::unavailable,
                 "The key " + name_ + " was changed by somebody else in the same moment");
  }
  if (approval_) KMS_TRY(approval_(fresh.get()));
  approved_ = version;
  return {};
}

// The write to the shard's row waits for the transaction in doubt to end, and its own commit is
// acknowledged only after everything before it is as safe.
Result<bool> TrusteeStore::Write::was_carried_out(Connection& connection) {
  auto waited = connection.run("UPDATE kms_change SET counter = counter WHERE shard = $1",
                               Params().number(shard_));
  if (!waited.ok()) return std::move(waited).error();
  auto rows =
      connection.run("SELECT operation FROM kms_change_log WHERE shard = $1 AND counter = $2",
                     Params().number(shard_).number(counter_));
  if (!rows.ok()) return std::move(rows).error();
  return rows->size() == 1 && rows->text(0, 0) == operation_;
}

// A node that did not look for so long forgets everything, see ChangesSince.
void TrusteeStore::Write::trim_log() {
  (void)store_.pool_.read(store_.deadline(), [&](Connection& connection) -> Result<void> {
    auto done = connection.run("DELETE FROM kms_change_log WHERE shard = $1 AND counter <= $2",
                               Params().number(shard_).number(counter_ - kKeptChanges));
    if (!done.ok()) return std::move(done).error();
    return {};
  });
}

}  // namespace kms::postgres
