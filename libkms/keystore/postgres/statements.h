// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "keystore/postgres/connection.h"
#include "keystore/postgres/rows.h"

namespace kms::postgres {

// The columns of kms_key in the order in which key_row() takes them, of a table called k.
#define KMS_KEY_COLUMNS                                                                  \
  "k.name, k.incarnation, k.cipher, k.bit_length, k.details, k.created_ms, k.versions, " \
  "k.state, k.deleted_ms, k.revision, k.wrapped_key, k.seal_id, k.tag"
inline constexpr int kKeyColumns = 13;
inline constexpr const char* kActive = "active";

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

}  // namespace kms::postgres
