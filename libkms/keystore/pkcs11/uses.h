// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "core/log.h"
#include "core/result.h"
#include "keystore/pkcs11/metadata_file.h"

namespace kms::pkcs11 {

// By name of the version: when somebody last asked for it, in ms since the epoch.
using LastUses = std::map<std::string, std::int64_t, std::less<>>;

// Of a file of metadata. A missing file is one without uses. Errors: corrupt, io.
std::string uses_path(const std::string& metadata_file);
Result<LastUses> load_uses(const std::string& path);

// When each key version was last used, as the processes of one host note it together in a small
// file beside that of the metadata: the later date wins. What is not there yet comes within
// seconds; of later dates up to a minute is in memory only.
// Thread-safe.
class Uses {
 public:
  Uses(FileOwner owner, Logger& logger) : owner_(owner), logger_(logger) {}

  void note(const std::string& version_name);
  // Writes a version that the file does not have, or whose date moved by more than a minute; with
  // all: whatever is later. Passes when somebody is changing a key just now.
  void save(MetadataFile& metadata, bool all);

 private:
  static bool has_news(const LastUses& used, const LastUses& known, bool all);
  bool due(bool all);
  Result<void> write(const std::string& path, const State& state, bool all);

  const FileOwner owner_;
  Logger& logger_;
  bool failed_ = false;  // and the log has it; for save(), which one thread calls

  std::mutex mutex_;          // guards what follows
  LastUses used_, known_;     // here; in the file
  std::int64_t next_ms_ = 0;  // of steady_ms()
};

}  // namespace kms::pkcs11
