// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "keystore/keystore.h"

namespace kms {

// What became of one key on its way from one keystore to another.
struct KeyMigration {
  enum class State {
    copied,
    would_copy,     // dry run
    already_there,  // the same, of an earlier run
    different,      // another key of this name is there; left alone
    failed,
  };
  std::string name;
  State state = State::failed;
  std::string text;  // what differs, or why it failed
};

// Copies every key that from lists and to does not have. A key is taken over as a whole or not at
// all, so that a run that was interrupted can be started again. Nothing in to is changed or
// removed. An error when the names of from cannot be told; what concerns one key is in its entry.
using MigrationStep = std::function<void(std::size_t total)>;  // after each key
Result<std::vector<KeyMigration>> migrate_keys(KeyStore& from, KeyStore& to, bool dry_run,
                                               const MigrationStep& step = {});

// What differs between the two keystores' keys of this name, material included; empty: nothing.
// "missing" when the second has none.
Result<std::string> compare_key(KeyStore& left, KeyStore& right, const std::string& name);

}  // namespace kms
