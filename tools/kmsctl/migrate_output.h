// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "keystore/migrate.h"
#include "output.h"

namespace kmsctl {

struct MigrationTotals {
  std::size_t of[9] = {};
  std::size_t operator[](kms::KeyMigration::State state) const {
    return of[static_cast<std::size_t>(state)];
  }
};

// Says what became of each key, and counts.
MigrationTotals tell_keys(const std::map<std::string, kms::KeyMigration>& keys, Output& out);
// Names the deleted keys of the source, which are not copied.
void tell_deleted(const std::vector<kms::DeletedKey>& deleted, Output& out);

}  // namespace kmsctl
