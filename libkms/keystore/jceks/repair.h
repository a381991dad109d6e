// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "keystore/jceks/jceks_store.h"
#include "keystore/jceks/snapshot.h"
#include "keystore/jceks/verify.h"

namespace kms::jceks {

struct RepairOptions {
  bool drop_broken = false;             // take entries away that cannot be opened
  int iterations = kDefaultIterations;  // of entries that are written anew
  int lock_timeout_ms = 30000;
};

// What can be mended in a keystore that opens: duplicates, versions without metadata, metadata that
// counts fewer versions than there are, and broken entries on request. A missing version cannot.
struct RepairPlan {
  struct Step {
    std::string entry, text;
  };
  std::vector<Step> steps;  // none: nothing to mend
  Snapshot::Map entries;    // of the mended keystore
};
Result<RepairPlan> plan_repair(const Inspection& found, const Secret& password,
                               const RepairOptions& options);

// Writes the plan's entries in the place of the file that was inspected, under the lock of its
// writers, after a copy of the file as it is was made beside it: NAME.before-repair-DATE, whose
// name is the result. Running servers see the change at once. Errors: unavailable when the file was
// changed since it was inspected.
Result<std::string> carry_out_repair(const std::string& path, const Inspection& found,
                                     const RepairPlan& plan, const Secret& password,
                                     const RepairOptions& options);

// Writes the plan's entries of a damaged file into a new one, which must not be there yet; owner
// and mode are those of the damaged one, which stays as it is.
Result<void> write_salvaged(const std::string& damaged, const std::string& fresh,
                            const RepairPlan& plan, const Secret& password);

}  // namespace kms::jceks
