// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "auth/tokens/journal.h"
#include "core/file_io.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms::tokens {

// An open journal. Reading needs no lock; whoever writes holds the right to.
class JournalFile {
 public:
  // Any regular file; sound() tells whether it has the header of a journal. Errors: io.
  static Result<JournalFile> open(const std::string& path);

  bool sound() const noexcept { return sound_; }
  const JournalHeader& header() const noexcept { return header_; }
  Result<std::uint64_t> size() const;
  // Whether the path names this very file.
  bool is_at(const std::string& path) const noexcept;

  struct End {
    std::uint64_t at;  // behind the last whole record
    FrameState why;    // whole: it is the end that was asked for
  };
  // Gives each record between from and to, up to the first that is not whole. Errors: io.
  Result<End> read(std::uint64_t from, std::uint64_t to,
                   const std::function<void(Record)>& take) const;
  // The bytes between from and to, or fewer where the file ends. Errors: io.
  Result<Secret> bytes(std::uint64_t from, std::uint64_t to) const;

  // Writes at the end, which the caller knows, and syncs. After an error the file is cut back; it
  // is not known what a power cut would leave of it if synced is false.
  Result<void> append(std::uint64_t end, ByteView bytes, bool& synced);
  // Forgets what stands behind length.
  Result<void> cut(std::uint64_t length);
  Result<void> sync();

 private:
  JournalFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;  // as it was opened, for messages
  JournalHeader header_;
  bool sound_ = false;
};

// Whether the file is empty, or a journal, be it a damaged one: nothing else may be written over.
// Errors: io.
Result<bool> is_journal(const JournalFile& file);

}  // namespace kms::tokens
