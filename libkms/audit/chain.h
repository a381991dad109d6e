// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "audit/chain_mark.h"
#include "audit/state.h"
#include "core/log.h"
#include "core/secret.h"

namespace kms {

// Numbers the lines of all processes in one row and binds each to the one before, so that a line
// which was removed, changed or moved is found (verify.h). One row for all processes costs a lock
// around the write, which the kernel takes anyway for a file in append mode; a row for each process
// would not show that lines of two processes changed places.
//
// A row begins with an AUDIT_CHAIN_START line, which names the last line of the row before it, and
// ends, when the last process ends in order, with an AUDIT_CHAIN_END line.
class AuditChain {
 public:
  using Put = std::function<Result<void>(std::string_view)>;
  static constexpr std::size_t kCarriedBytes = 128;

  // key empty: a plain hash. previous: the mark of the last line of an earlier row
  // ("ID:NUMBER:HASH"), or empty; then carried is taken, where the process that made the chain
  // before left its last mark (a renamed file: the new one tells nothing). carried has
  // kCarriedBytes, or is null.
  static Result<std::unique_ptr<AuditChain>> create(std::shared_ptr<SharedAuditState> state,
                                                    AuditFormat format, Secret key,
                                                    std::string previous, char* carried);

  // Writes the first line; where that fails the next line that is written brings it along.
  Result<void> start(const Put& put);
  // Marks the lines and hands them to put, one caller at a time among all processes.
  Result<void> through(std::string_view lines, const Put& put);

  // Who holds the chain may write to it; the last one to let go writes the end line. The process
  // that made it holds it from the beginning, and only it may call release_as_maker with effect: a
  // child runs the destructors of what its parent made.
  void hold();
  Result<void> release(const Put& put);
  Result<void> release_as_maker(const Put& put);

  // Tells the log where the row is, now and then: a copy of it elsewhere shows later that the end
  // was cut off.
  void checkpoint(Logger& logger);

 private:
  AuditChain(std::shared_ptr<SharedAuditState> state, AuditFormat format, Secret key,
             std::string previous, char* carried);
  std::string own_line(std::string_view op, std::string_view extra) const;
  std::string first_line() const;
  std::string place() const;

  const std::shared_ptr<SharedAuditState> state_;
  AuditState::Chain& shared_;
  const AuditFormat format_;
  const Secret key_;
  const std::string previous_;
  char* const carried_;
  const pid_t maker_;
};

}  // namespace kms
