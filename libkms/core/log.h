// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace kms {

enum class LogLevel { error, warn, notice, info, debug };

// Where libkms says what it has to say. The host (httpd, a tool, a test) implements it; log() may
// be called from any thread. Every line has a stable id, "KMS0101", listed in docs/messages.md: two
// places have two ids, an id is never used again for something else.
//   KMS00xx configuration   KMS01xx keystores   KMS02xx ACLs and groups   KMS03xx authentication
//   KMS04xx audit           KMS05xx life of the module                    KMS06xx requests
class Logger {
 public:
  virtual ~Logger() = default;
  virtual void log(LogLevel level, std::string_view id, std::string_view text) noexcept = 0;
};

}  // namespace kms
