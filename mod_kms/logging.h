// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/log.h"
#include "mod_kms.h"

namespace kms {

// libkms's log lines in httpd's error log of one server, under LogLevel kms:LEVEL.
class HttpdLogger final : public Logger {
 public:
  // least: what is less urgent is left out.
  explicit HttpdLogger(server_rec* server, LogLevel least = LogLevel::debug)
      : server_(server), least_(least) {}
  void log(LogLevel level, std::string_view id, std::string_view text) noexcept override;

 private:
  server_rec* server_;
  LogLevel least_;
};

}  // namespace kms
