// SPDX-License-Identifier: Apache-2.0
// remove hides a key; undelete shows it again, purge takes its rows away.
#include <algorithm>

#include "core/clock.h"
#include "keystore/jceks/alias.h"
#include "keystore/postgres/statements.h"
#include "keystore/postgres/write.h"

namespace kms::postgres {
namespace {

constexpr std::int64_t kDayMs = 86400000;

Error not_deleted(std::string_view name, const std::string& uri) {
  return Error(ErrorKind::io, "There is no deleted key " + std::string(name) + " in " + uri);
}

}  // namespace

// With a date the key is hidden, without one it is shown again.
Result<void> TrusteeStore::hide(std::string_view asked, std::optional<std::int64_t> deleted_ms,
                                const Approval& approval) {
  Write write(*this, folded(asked), approval);
  return write.run_on_row([&](Connection& connection, const Rows& rows) -> Result<VersionPtr> {
    if (deleted_ms.has_value() && !is_there(rows))
      return Error(ErrorKind::io, "Key " + std::string(asked) + " does not exist in " + uri());
    if (!deleted_ms.has_value() && !is_deleted(rows)) return not_deleted(asked, uri());
    auto row = checked_row(rows);
    if (!row.ok()) return std::move(row).error();
    row->deleted_ms = deleted_ms;
    KMS_TRY(update_row(connection, *row));
    return VersionPtr();
  });
}

Result<void> TrusteeStore::remove(std::string_view name, const Approval& approval) {
  return hide(name, now_ms(), approval);
}

Result<void> TrusteeStore::undelete(std::string_view name, const Approval& approval) {
  return hide(name, std::nullopt, approval);
}

// Whether the date can be trusted is for the seal to say.
Result<void> TrusteeStore::purge(std::string_view asked, const Approval& approval) {
  Write write(*this, folded(asked), approval);
  return write.run_on_row([&](Connection& connection, const Rows& rows) -> Result<VersionPtr> {
    if (!is_deleted(rows)) return not_deleted(asked, uri());
    auto row = checked_row(rows);
    if (!row.ok()) return std::move(row).error();
    const std::int64_t days = access_.options.retention_days;
    if (now_ms() < *row->deleted_ms + days * kDayMs)
      return Error(ErrorKind::invalid_argument, "Key " + std::string(asked) +
                                                    " was deleted less than " +
                                                    std::to_string(days) + " days ago");
    KMS_TRY(leave_notes(connection, *row, write));
    for (const char* statement :
         {"DELETE FROM kms_key_version WHERE name = $1", "DELETE FROM kms_key WHERE name = $1"}) {
      auto done = connection.run(statement, Params().text(row->name));
      if (!done.ok()) return std::move(done).error();
    }
    return VersionPtr();
  });
}

Result<DeletedKey> TrusteeStore::deleted_of(const KeyRow& row) {
  KMS_TRY(vault()->check(row));
  auto metadata = metadata_of(row);
  if (!metadata.ok()) return std::move(metadata).error();
  return DeletedKey{std::move(*metadata), row.deleted_ms.value_or(0)};
}

Result<std::optional<DeletedKey>> TrusteeStore::deleted_key(std::string_view asked) {
  const jceks::FoldedAlias alias(asked);
  std::optional<DeletedKey> found;
  KMS_TRY(pool_.read(deadline(), [&](Connection& connection) -> Result<void> {
    found.reset();
    auto rows = connection.run("SELECT " KMS_KEY_COLUMNS
                               " FROM kms_key k WHERE k.name = $1 AND k.deleted_ms IS NOT NULL",
                               Params().text(alias.view()));
    if (!rows.ok()) return std::move(rows).error();
    if (rows->size() == 0) return {};
    auto key = deleted_of(key_row(*rows, 0));
    if (!key.ok()) return std::move(key).error();
    found = std::move(*key);
    return {};
  }));
  return found;
}

// A damaged row is said and left out, so that the others can be seen.
Result<std::vector<DeletedKey>> TrusteeStore::deleted_keys() {
  std::vector<DeletedKey> found;
  KMS_TRY(pool_.read(deadline(), [&](Connection& connection) -> Result<void> {
    found.clear();
    auto rows =
        connection.run("SELECT " KMS_KEY_COLUMNS " FROM kms_key k WHERE k.deleted_ms IS NOT NULL");
    if (!rows.ok()) return std::move(rows).error();
    for (int i = 0; i < rows->size(); ++i) {
      auto key = deleted_of(key_row(*rows, i));
      if (key.ok())
        found.push_back(std::move(*key));
      else if (key.error().kind == ErrorKind::unavailable)
        return std::move(key).error();
      else
        (void)damaged(key.error());
    }
    return {};
  }));
  std::sort(found.begin(), found.end(), [](const DeletedKey& a, const DeletedKey& b) {
    return a.metadata->name < b.metadata->name;
  });
  return found;
}

}  // namespace kms::postgres
