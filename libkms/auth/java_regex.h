// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace kms {

// A java.util.regex pattern over UTF-8, run by PCRE2. What the two engines take differently is
// translated, or refused when the pattern is compiled: a pattern never means something else here
// than in Java. Immutable; thread-safe. A subject costs a bounded number of steps.
class JavaRegex {
 public:
  // Errors (configuration): what is wrong, and at which byte of the pattern.
  static Result<JavaRegex> compile(std::string_view pattern);
  JavaRegex(JavaRegex&&) noexcept;
  JavaRegex& operator=(JavaRegex&&) noexcept;
  ~JavaRegex();

  // Errors of both (authentication): a subject that is no UTF-8, too long or has control
  // characters, which the engines take for ends of lines each in its own way; the limit of steps.

  // Matcher.matches: whether the whole of subject matches.
  Result<bool> matches(std::string_view subject) const;
  // Matcher.replaceAll, or replaceFirst where all is false. More errors: a reference in replacement
  // that Java would throw for, which is only seen once something matches; a result that is too
  // long.
  Result<std::string> replace(std::string_view subject, std::string_view replacement,
                              bool all) const;

 private:
  struct Code;
  explicit JavaRegex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace kms
