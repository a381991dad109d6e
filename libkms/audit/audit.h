// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/log.h"
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
  // For the JSON format; the Java line does not show them. Empty: left out.
  std::string_view real_user, remote_address, version, request_id;
  std::int64_t received_us = 0;  // now_us() when the request came, for its duration; 0: left out
};

// java: Hadoop's SimpleKMSAuditLogger with its log4j layout. json: one object a line, with all
// fields.
enum class AuditFormat { java, json };

// What has happened to a record when record() succeeds.
//   none   it is in memory; failures do not stop the service, they are counted and reported
//   write  the kernel has it: it survives the death of every process, not that of the host
//   fsync  the disk has it (a piped log: its program has read it)
enum class AuditDurability { none, write, fsync };

// Takes whole lines. Thread-safe, and safe between processes that were forked from the one that
// made it.
class AuditWriter {
 public:
  virtual ~AuditWriter() = default;
  // lines: one or more lines, each ended by '\n' and no longer than kMaxAuditLine. Error
  // (unavailable) when they are not as safe as the writer promises; a part of them may be there
  // then.
  virtual Result<void> write(std::string_view lines) = 0;
  // In the process that made it, before the first write and the fork.
  virtual Result<void> begin() { return {}; }
  // In a child, before its first write.
  virtual void attach() {}
  // About once a second: looks after what it writes to. Says in the log what it finds.
  virtual void poll() {}
  // At the end of a process, after its last write.
  virtual Result<void> finish() { return {}; }
};

// How the log is, for a health page. The same in all processes that share it.
struct AuditHealth {
  bool ok = true;
  std::int64_t failing_since_ms = 0;  // 0 when ok
  std::string last_error;             // also after it is over; empty: never failed
  std::uint64_t failures = 0;         // writes that failed since the start
  std::uint64_t lost_lines = 0;       // with AuditDurability::none only
};

class DenialRing;        // denials.h
class SharedAuditState;  // state.h

// Formats, aggregates on request, and fails closed: record() succeeds only when the writer took the
// line(s).
class AuditLog {
 public:
  struct Options {
    AuditFormat format = AuditFormat::java;
    // 0: a line for each event. Otherwise Hadoop's aggregation of kms-auth.md section 7 for
    // GET_KEY_VERSION, GET_CURRENT_KEY, DECRYPT_EEK, GENERATE_EEK, REENCRYPT_EEK, kept for each
    // process.
    std::int64_t window_ms = 0;
    std::int64_t probe_ms = 5000;  // between looks whether a failing log works again
    bool buffered = false;         // AuditDurability::none: writer gets the lines later
    Logger* logger = nullptr;
    std::function<void(std::int64_t us)> timed = {};  // told how long each write took; may be empty
  };
  AuditLog(std::unique_ptr<AuditWriter> writer, const Options& options);
  // With the state that writer shares with the other processes.
  AuditLog(std::unique_ptr<AuditWriter> writer, const Options& options,
           std::shared_ptr<SharedAuditState> state);
  ~AuditLog();

  Result<void> record(const AuditEvent& event);
  // Several events in one write (a key-level denial has two lines).
  Result<void> record(const AuditEvent* events, std::size_t count);

  // The last denials are shown there as well; ring must outlive this object. Before the fork.
  void show_denials(DenialRing* ring) noexcept { denials_ = ring; }

  // In the process that made it, before the fork. A log that cannot be written is no reason not to
  // start: it shows as failing, and works again by itself.
  void begin();
  // In each child, after the fork.
  void attach();
  // About once a second, from the maintenance thread: writes the summaries that are due, looks
  // after the writer, and tries whether a failing log works again, so that a server that gets no
  // requests while it is red does not stay red.
  Result<void> sweep(std::int64_t now_steady_ms);
  // Writes everything that is pending (end of the process).
  Result<void> flush();

  AuditFormat format() const noexcept { return options_.format; }
  AuditHealth health() const;
  // The same as !health().ok, at the cost of one load.
  bool failing() const noexcept;

 private:
  class Aggregator;
  class Observed;
  class Buffered;
  void probe(std::int64_t now_steady_ms);

  const Options options_;
  std::shared_ptr<SharedAuditState> state_;
  std::unique_ptr<AuditWriter> writer_;
  std::unique_ptr<Observed> observed_;
  std::unique_ptr<Buffered> buffered_;
  AuditWriter& out_;  // the outermost of the three
  std::unique_ptr<Aggregator> aggregator_;
  DenialRing* denials_ = nullptr;
};

}  // namespace kms
