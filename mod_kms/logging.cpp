// SPDX-License-Identifier: Apache-2.0
#include "logging.h"

namespace kms {

void HttpdLogger::log(LogLevel level, std::string_view id, std::string_view text) noexcept {
  if (level > least_) return;
  int apache_level = APLOG_ERR;
  switch (level) {
    case LogLevel::error:
      apache_level = APLOG_ERR;
      break;
    case LogLevel::warn:
      apache_level = APLOG_WARNING;
      break;
    case LogLevel::notice:
      apache_level = APLOG_NOTICE;
      break;
    case LogLevel::info:
      apache_level = APLOG_INFO;
      break;
    case LogLevel::debug:
      apache_level = APLOG_DEBUG;
      break;
  }
  ap_log_error(APLOG_MARK, apache_level, 0, server_, "%.*s: %.*s", static_cast<int>(id.size()),
               id.data(), static_cast<int>(text.size()), text.data());
}

}  // namespace kms
