// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "audit/audit.h"
#include "auth/tokens/token_store.h"
#include "core/log.h"
#include "metrics/metrics.h"

// What counts without the counted knowing it. Each outlives by what it wraps; metrics outlives all.
namespace kms {

std::unique_ptr<TokenStore> metered(std::unique_ptr<TokenStore> store, Metrics& metrics);

// For Groups::Options::lookup.
using GroupLookup = std::function<Result<std::vector<std::string>>(const std::string& user)>;
GroupLookup metered(GroupLookup lookup, Metrics& metrics);

// Counts lines by level, and by their ids the events that a line stands for: a keystore read anew,
// ACLs taken over or not.
class MeteredLogger final : public Logger {
 public:
  MeteredLogger(Logger& inner, Metrics& metrics) : inner_(inner), metrics_(metrics) {}
  void log(LogLevel level, std::string_view id, std::string_view text) noexcept override;

 private:
  Logger& inner_;
  Metrics& metrics_;
};

}  // namespace kms
