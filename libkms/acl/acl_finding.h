// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "hadoop/configuration.h"

namespace kms {

// Something about one rule of kms-acls.xml that its author should know.
struct AclFinding {
  enum class Severity {
    note,     // as it should be, but worth a look
    warning,  // has no effect, or less than it seems
    error,    // skipped, or says other than what was meant
  };
  Severity severity = Severity::warning;
  std::string_view code;  // stable, for filters: "users-as-groups"; the list is in kmsctl(1)
  hadoop::Origin origin;
  std::string property;  // empty: about the file
  std::string text;

  // "FILE:LINE: property NAME: TEXT"
  std::string line() const {
    return origin.text() + (property.empty() ? ": " : ": property " + property + ": ") + text;
  }
};

std::string_view severity_name(AclFinding::Severity severity);

}  // namespace kms
