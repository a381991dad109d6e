// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace kms {

// A pattern for PCRE2 that matches what a java.util.regex pattern matches, on subjects without
// control characters.
struct TranslatedPattern {
  std::string text;
  // Holds for ASCII subjects only and is to be compiled without UTF: (?i) and \b. Java folds ASCII
  // letters only, PCRE2 with UTF folds U+212A and k as well; word boundaries differ likewise.
  bool ascii_only = false;
};

// Errors (configuration): syntax that Java refuses, or that PCRE2 would take for something else.
Result<TranslatedPattern> translate_java_pattern(std::string_view pattern);

}  // namespace kms
