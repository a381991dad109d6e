// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/log.h"
#include "mod_kms.h"

namespace kms {

// libkms's log lines in httpd's error log of one server, under LogLevel kms:LEVEL.
class HttpdLogger final : public Logger {
 public:
  explicit HttpdLogger(server_rec* server) : server_(server) {}
  void log(LogLevel level, std::string_view id, std::string_view text) noexcept override;

 private:
  server_rec* server_;
};

}  // namespace kms
