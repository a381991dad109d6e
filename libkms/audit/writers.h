// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "audit/audit.h"
#include "audit/chain.h"
#include "audit/state.h"
#include "core/file_io.h"

// Where audit lines go. All of them tell a failure as ErrorKind::unavailable with a text that names
// the log; the host ignores SIGPIPE, as httpd does.
namespace kms {

// What the writers have in common.
struct AuditWriterParts {
  std::string name;  // for messages
  std::shared_ptr<SharedAuditState> state;
  std::unique_ptr<AuditChain> chain;  // null: no chain
  Logger* logger = nullptr;           // null: says nothing
};

// A file, opened to append; path is looked at to find out that it was renamed or deleted. sync:
// each write returns after an fdatasync that began after it. Where the file is shared each call is
// one write(2).
std::unique_ptr<AuditWriter> make_file_writer(Fd fd, std::string path, bool sync,
                                              AuditWriterParts parts);

// The write end of a pipe, which the caller owns and which is set to be non-blocking. confirm: each
// write returns after the reader has read it. timeout_ms: the longest wait for a reader that does
// not read.
std::unique_ptr<AuditWriter> make_pipe_writer(int fd, bool confirm, std::int64_t timeout_ms,
                                              AuditWriterParts parts);

// One datagram for each line to a Unix socket: the system log by RFC 3164, or the systemd journal
// by its native protocol. A datagram is in the receiver's queue when the call returns; more cannot
// be told. libsystemd's sd_journal_sendv and syslog(3) would do for delivery, but the first answers
// success when there is no journal and the second answers nothing.
std::unique_ptr<AuditWriter> make_syslog_writer(std::string socket, int facility, std::string tag,
                                                std::int64_t timeout_ms, AuditWriterParts parts);
std::unique_ptr<AuditWriter> make_journal_writer(std::string socket, std::string identifier,
                                                 std::int64_t timeout_ms, AuditWriterParts parts);

// "The audit log NAME WHAT: strerror"
Error audit_error(std::string_view name, std::string_view what, int code);

}  // namespace kms
