// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/file_io.h"
#include "keystore/migrate.h"

namespace kms {

// What a migration did, as a JSON file, and what it has made, for a later call: that goes to
// FILE.journal, line by line, before a key is written, and into FILE at the end. So a run that was
// killed is known as well. Material is in neither, but its digests. Not thread-safe.
class MigrationReport final : public MadeKeys {
 public:
  // In memory only.
  MigrationReport(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  // Goes on with the report of an earlier run of the same two stores, if there is one. Errors
  // (configuration): it is of other stores, or is no report. to_write: it will be written.
  static Result<MigrationReport> open(const std::string& file, const std::string& from,
                                      const std::string& to, bool to_write);
  // Of any two stores; to roll back.
  static Result<MigrationReport> load(const std::string& file);

  const Digests& all() const override { return made_; }
  Result<void> note(const std::string& name, const std::string& digest) override;
  Result<void> forget(const std::string& name) override;

  const std::string& from() const { return from_; }
  const std::string& to() const { return to_; }

  struct Ending {
    const std::map<std::string, KeyMigration>& keys;
    const std::vector<DeletedKey>& deleted;      // of the source, not copied
    const std::vector<std::string>& not_copied;  // what the source does not list, in words
    int passes = 0;
    bool complete = false;  // the two sides were the same in the end
  };
  // Writes FILE, durably, and ends the journal. Nothing where there is no file.
  Result<void> write(const Ending& ending);

 private:
  Result<void> open_journal();
  Result<void> read();
  Result<void> read_journal();
  Result<void> append(const std::string& name, const std::string* digest);
  std::string journal() const { return file_ + ".journal"; }

  std::string file_;  // empty: in memory only
  std::string from_, to_;
  Digests made_;
  Fd journal_;
};

// "copied", "would_copy"... as reports and kmsctl have it.
std::string_view state_name(KeyMigration::State state);

}  // namespace kms
