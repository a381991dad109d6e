// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "core/secret.h"
#include "keystore/jceks/snapshot.h"

namespace kms::jceks {

// What JavaKeyStoreProvider does at start with the files that an interrupted flush left behind:
// NAME_NEW and NAME_OLD (jceks.md d.4). Where Java starts with an empty store although files are
// there, this refuses.
struct Recovery {
  SnapshotPtr snapshot;
  struct Step {
    std::string from;
    std::string to;  // empty: from is removed
  };
  std::vector<Step> steps;  // what puts the directory in order; none in the usual case
};

// Looks at the files and decides; changes nothing. Errors say which file is wrong and why: corrupt,
// wrong_password, io.
Result<Recovery> plan_recovery(const std::string& path, const Secret& password);

// Carries the steps out, sidecars included, and syncs the directory.
Result<void> carry_out(const std::string& path, const Recovery& recovery);

}  // namespace kms::jceks
