// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/secret.h"

namespace kms {

// A place in a row of chained lines that is known from elsewhere: KMS0404 in the error log, an
// earlier report.
struct AuditCheckpoint {
  std::string id;
  std::uint64_t number = 0;
  std::string hash;
};
// "ID:NUMBER:HASH", as KMS0404 and the reports show it.
Result<AuditCheckpoint> parse_audit_checkpoint(std::string_view text);

struct AuditVerifyOptions {
  const Secret* key = nullptr;  // KMSAuditChainKeyFile; null: the rows have plain hashes
  std::vector<AuditCheckpoint> expected;
  // The files go on from earlier ones that are not given. Otherwise a row that does not begin in
  // them was cut.
  bool continues = false;
  std::size_t most_findings = 1000;  // more are counted only
};

struct AuditFinding {
  enum class Kind {
    changed,    // the line is not what was written
    removed,    // lines that stood before this one are gone
    moved,      // the line stands in another place than it was written to
    repeated,   // the line has a number that was there before
    inserted,   // a line without a mark
    cut_off,    // a place that is known from elsewhere is not there
    no_chain,   // no line at all has a mark
    wrong_key,  // the row was made with a key, or without, other than was given
    // Nothing wrong; to be known.
    leftover,   // of a write that failed: the server was told so, and answered 503
    unchained,  // lines from before the first row
    continued,  // the row begins in an earlier file; its first line cannot be checked
    open_end,   // no end line: still being written, or processes died, or the end was cut off
  };
  Kind kind;
  std::string file;
  std::uint64_t line = 0;  // from 1; 0: the end of the log
  std::string text;        // for people, without place
  bool is_problem() const noexcept { return kind < Kind::leftover; }
};

// A row of chained lines.
struct AuditRow {
  std::string id;
  std::uint64_t first = 0, last = 0;  // numbers
  std::string last_hash;              // with id and last: a checkpoint
  bool ended = false;                 // by an end line
};

struct AuditReport {
  std::vector<AuditFinding> findings;  // in the order of the lines
  std::uint64_t problems = 0, more_findings = 0;
  std::uint64_t lines = 0, chained = 0;
  std::vector<AuditRow> rows;
  // No problem. A log without any chained line has one: it may stand in the place of another.
  bool good() const noexcept { return problems == 0; }
};

// Reads the files, oldest first, as one log, and follows their rows (chain.h). Works on files of
// any size, in the Java format, in JSON, or both. Error: a file cannot be read.
Result<AuditReport> verify_audit_chain(const std::vector<std::string>& files,
                                       const AuditVerifyOptions& options);

}  // namespace kms
