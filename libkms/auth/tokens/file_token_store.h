// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "auth/tokens/token_store.h"
#include "core/log.h"

namespace kms {

struct FileTokenStoreOptions {
  std::string path;                          // the journal; its lock file lies beside it
  uid_t owner_uid = static_cast<uid_t>(-1);  // of a file made by root; -1: the maker's
  gid_t owner_gid = static_cast<gid_t>(-1);
  int lock_timeout_ms = 30000;
  std::uint64_t compact_bytes = 256 * 1024;  // a file that is not longer is not shortened
};

// Tokens in a journal on this host, for all processes that name the same file: every change is one
// appended, checksummed, fsynced record; a generation counter in mapped memory tells the others to
// read on. A record that a crash cut off is dropped at the next writing. Survives restarts.
// check_only: look whether it could work, make and change nothing.
// Errors: configuration or corrupt, with the path.
Result<std::unique_ptr<TokenStore>> open_file_token_store(FileTokenStoreOptions options,
                                                          Logger& logger, bool check_only);

}  // namespace kms
