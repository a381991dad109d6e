// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "audit/audit.h"
#include "core/secret.h"

namespace kms {

// Where the log goes, as KMSAuditLog says it:
//   FILE                               a path
//   |COMMAND                           a program that reads the log; the host starts it
//   syslog[:FACILITY[:TAG[:SOCKET]]]   authpriv, kms-audit, /dev/log
//   journal[:IDENTIFIER[:SOCKET]]      kms-audit, /run/systemd/journal/socket
struct AuditTarget {
  enum class Kind { file, pipe, syslog, journal };
  Kind kind = Kind::file;
  std::string where;  // path, command or socket
  std::string identifier;
  int facility = 0;
  std::string name;  // for messages
};
Result<AuditTarget> parse_audit_target(std::string_view text);

struct AuditConfig {
  AuditTarget target;
  int pipe_fd = -1;  // write end to the program of a pipe target; stays the host's
  AuditFormat format = AuditFormat::java;
  AuditDurability durability = AuditDurability::write;
  bool chain = false;
  std::string chain_key_file;     // empty: a plain hash
  char* chain_carried = nullptr;  // AuditChain::kCarriedBytes that outlive a restart; may be null
  std::int64_t window_ms = 0;
  std::function<void(std::int64_t us)> timed;  // told how long each write took; may be empty
  std::int64_t timeout_ms = 5000;  // longest wait for a program or a system log that does not read
};

// What is wrong with it, as far as that can be told without opening the log; one line each. look:
// also what is not there. A restart does without: a system log that is away must not end the
// server.
std::vector<std::string> check_audit_config(const AuditConfig& config, bool look);

// Opens the log, and begins its chain. As root and before the fork, where there is one.
Result<std::unique_ptr<AuditLog>> open_audit_log(const AuditConfig& config, Logger& logger);

// The key of a chain: the file as it is, 16 bytes to 64 KiB, and not readable for everybody.
Result<Secret> read_chain_key(const std::string& path);

}  // namespace kms
