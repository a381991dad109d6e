// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "keystore/postgres/connection.h"
#include "keystore/postgres/rows.h"

namespace kms::postgres {

// The columns of kms_key in the order in which key_row() takes them, of a table called k.
#define KMS_KEY_COLUMNS                                                                  \
  "k.name, k.incarnation, k.cipher, k.bit_length, k.details, k.created_ms, k.versions, " \
  "k.state, k.deleted_ms, k.revision, k.wrapped_key, k.seal_id, k.tag"
inline constexpr int kKeyColumns = 13;
inline constexpr std::int64_t kKeptChanges = 10000;  // lines of each shard in kms_change_log

inline KeyRow key_row(const Rows& rows, int i) {
  KeyRow row;
  row.name = rows.text(i, 0);
  row.incarnation = rows.text(i, 1);
  row.cipher = rows.text(i, 2);
  row.bit_length = static_cast<std::int32_t>(rows.number(i, 3));
  row.details = rows.text(i, 4);
  row.created_ms = rows.number(i, 5);
  row.versions = static_cast<std::int32_t>(rows.number(i, 6));
  row.state = rows.text(i, 7);
  if (!rows.is_null(i, 8)) row.deleted_ms = rows.number(i, 8);
  row.revision = rows.number(i, 9);
  row.wrapped_key = rows.bytes(i, 10);
  row.seal_id = rows.text(i, 11);
  row.tag = rows.bytes(i, 12);
  return row;
}

// version, created_ms, sealed, wrapped_key, seal_id, from a column on.
inline VersionRow version_row(const Rows& rows, int i, int first) {
  VersionRow row;
  row.version = static_cast<std::int32_t>(rows.number(i, first));
  row.created_ms = rows.number(i, first + 1);
  row.sealed = rows.bytes(i, first + 2);
  row.wrapped_key = rows.bytes(i, first + 3);
  row.seal_id = rows.text(i, first + 4);
  return row;
}

// What INSERT INTO takes of a row, and the values in this order.
#define KMS_KEY_INSERT                                                                    \
  "kms_key (name, incarnation, cipher, bit_length, details, created_ms, versions, state," \
  " deleted_ms, revision, wrapped_key, seal_id, tag)"
inline constexpr int kKeyInsertColumns = 13;
#define KMS_VERSION_INSERT \
  "kms_key_version (name, version, created_ms, sealed, wrapped_key, seal_id)"
inline constexpr int kVersionInsertColumns = 6;

inline void add_key_row(Params& to, const KeyRow& row) {
  to.text(row.name).text(row.incarnation).text(row.cipher).number(row.bit_length);
  to.text(row.details).number(row.created_ms).number(row.versions).text(row.state);
  if (row.deleted_ms.has_value())
    to.number(*row.deleted_ms);
  else
    to.null();
  to.number(row.revision).bytes(row.wrapped_key).text(row.seal_id).bytes(row.tag);
}

inline void add_version_row(Params& to, const std::string& name, const VersionRow& row) {
  to.text(name).number(row.version).number(row.created_ms).bytes(row.sealed);
  to.bytes(row.wrapped_key).text(row.seal_id);
}

// Shard, counter and name of each line of the log since some counters of kms_change, by shard; a
// shard that went ahead without a line has none. One statement, so one moment. The log is asked for
// each shard by its index: without OFFSET 0 the planner takes it for a third of the table, and
// reads all of it.
#define KMS_CHANGES_SINCE                                                                 \
  "SELECT c.shard, c.counter, l.name FROM (VALUES (0, $1::bigint), (1, $2::bigint),"      \
  " (2, $3::bigint), (3, $4::bigint), (4, $5::bigint), (5, $6::bigint), (6, $7::bigint)," \
  " (7, $8::bigint)) AS s (shard, counter) JOIN kms_change c ON c.shard = s.shard"        \
  " LEFT JOIN LATERAL (SELECT name FROM kms_change_log WHERE shard = c.shard"             \
  " AND counter > s.counter OFFSET 0) l ON true WHERE c.counter <> s.counter"

// INSERT INTO into with columns values each; as many rows with one statement as fit. fill adds the
// values of row i.
Result<void> insert_rows(Connection& connection, const std::string& into, int columns,
                         std::size_t rows, const std::function<void(std::size_t i, Params&)>& fill);

#define KMS_RECORD_COLUMNS "number, expires_ms, revision, sealed, wrapped_key, seal_id"
inline constexpr int kRecordColumns = 6;

inline RecordRow record_row(const Rows& rows, int i, std::string_view kind) {
  RecordRow row;
  row.kind = kind;
  row.number = rows.number(i, 0);
  row.expires_ms = rows.number(i, 1);
  row.revision = rows.number(i, 2);
  row.sealed = rows.bytes(i, 3);
  row.wrapped_key = rows.bytes(i, 4);
  row.seal_id = rows.text(i, 5);
  return row;
}

// Where the rows say which key seals them.
inline constexpr int kKeySeal = 11, kVersionSeal = kKeyColumns + 4, kRecordSeal = 5;

}  // namespace kms::postgres
