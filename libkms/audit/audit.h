// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace kms {

enum class AuditStatus { ok, unauthorized, unauthenticated, error };

// One thing that happened, typed, so that no free-form secret can slip in. Views outlive the call
// only.
struct AuditEvent {
  AuditStatus status = AuditStatus::ok;
  std::string_view op;                  // "DECRYPT_EEK"; empty: left out
  std::optional<std::string_view> key;  // left out when absent
  std::string_view user;                // full user name; empty: left out
  std::string_view extra;               // "UserProvidedMaterial:false Description:null"
  // Carried for later formats; the Java line does not show them.
  std::string_view real_user, remote_address;
};

// Takes whole lines; each is on its way to the disk (write(2) done) when the call returns.
// Thread-safe, and safe between processes that share the file: one write for each call, in append
// mode.
class AuditWriter {
 public:
  virtual ~AuditWriter() = default;
  // lines: one or more lines, each ended by '\n'. Error (unavailable) when not everything was
  // written; the next call then begins with a newline where a line was left torn.
  virtual Result<void> write(std::string_view lines) = 0;
};
// Over a file descriptor that the caller owns (opened O_APPEND, by root before the fork). name is
// used in messages. The host ignores SIGPIPE, as httpd does, so that a dead pipe is an error.
std::unique_ptr<AuditWriter> make_fd_writer(int fd, std::string name);

// "2026-11-24 11:42:21,319 OK[op=…, key=…, user=…] extra\n", local time, as Hadoop's
// SimpleKMSAuditLogger with its log4j layout; the five operations that Hadoop counts also show
// "accessCount=1, interval=0ms" when they succeed. Control characters in values are escaped
// (\n -> \n), so that a name cannot forge a line, and over-long values are cut in the middle, so
// that a line fits in one write to a pipe; Java does neither, see docs/compatibility.md.
void append_java_line(std::string& out, const AuditEvent& event, std::int64_t time_ms);

// Formats, aggregates on request, and fails closed: record() succeeds only when the writer took the
// line(s).
class AuditLog {
 public:
  // window_ms 0: a line for each event. Otherwise Hadoop's aggregation of kms-auth.md section 7 for
  // GET_KEY_VERSION, GET_CURRENT_KEY, DECRYPT_EEK, GENERATE_EEK, REENCRYPT_EEK, kept for each
  // process.
  AuditLog(std::unique_ptr<AuditWriter> writer, std::int64_t window_ms);
  ~AuditLog();

  Result<void> record(const AuditEvent& event);
  // Several events in one write (a key-level denial has two lines).
  Result<void> record(const AuditEvent* events, std::size_t count);
  // Writes the summaries that are due. Called by the maintenance thread; cheap when nothing is due.
  Result<void> sweep(std::int64_t now_steady_ms);
  // Writes every pending summary (end of the process).
  Result<void> flush();

 private:
  class Aggregator;
  std::unique_ptr<AuditWriter> writer_;
  std::unique_ptr<Aggregator> aggregator_;
};

}  // namespace kms
