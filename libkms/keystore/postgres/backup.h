// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "keystore/backup_file.h"
#include "keystore/postgres/options.h"

// Backup and restore of a key store in PostgreSQL. A backup holds the keys as they are, not as they
// are sealed: its envelope protects them, so that it is of use without the sealing key of the store
// it came from, and can be restored into a store that has another one.
namespace kms {

// After each piece of work: what is being done, how much of it by now, and of how much.
using BulkStep = std::function<void(std::string_view what, std::int64_t done, std::int64_t all)>;

// Writes every key as it was at one moment, deleted ones included, to a file that must not exist,
// for the holders of the private keys of any of the certificates. Keys that are damaged in the
// store are left out, and named in the totals. Nodes may serve meanwhile.
Result<BackupTotals> backup_trustee_store(const std::string& uri, const TrusteeOptions& options,
                                          const std::string& file,
                                          std::span<const std::string> certificates,
                                          const BulkStep& step = {});

struct RestoreOptions {
  std::string file;
  std::string key_file;                  // PEM
  const Secret* key_password = nullptr;  // of an encrypted key file
  bool merge = false;                    // into a store that has other keys as well
};

struct Restored {
  BackupTotals backup;
  std::int64_t restored = 0;           // keys made by this call
  std::int64_t already_there = 0;      // the same, of an earlier call or before
  std::int64_t verified = 0;           // keys of the store that are as in the backup, in the end
  std::vector<std::string> different;  // left alone since another key of that name is there
};

// Reads the whole file before the first key is written, then writes what is missing, then compares
// each key with the store. Nothing that is there is changed. Without merge a store is refused that
// has anything that is not the same in the backup, so a restore that was interrupted goes on when
// it is called again. Errors: corrupt, wrong_password: nothing was written.
Result<Restored> restore_trustee_store(const std::string& uri, const TrusteeOptions& options,
                                       const RestoreOptions& restore, const BulkStep& step = {});

}  // namespace kms
