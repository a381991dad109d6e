// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "command.h"

namespace kmsctl {

Exit exit_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::io:
    case ErrorKind::unavailable:
    case ErrorKind::configuration:
    case ErrorKind::corrupt:
    case ErrorKind::wrong_password:
      return kUnreachable;
    case ErrorKind::not_authorized:
    case ErrorKind::authentication:
      return kRefused;
    default:
      return kFailed;
  }
}

std::string Invocation::get(const std::string& option, std::string otherwise) const {
  const auto found = options.find(option);
  return found != options.end() ? found->second.back() : std::move(otherwise);
}

std::vector<std::string> Invocation::all(const std::string& option) const {
  const auto found = options.find(option);
  return found != options.end() ? found->second : std::vector<std::string>{};
}

Result<long> Invocation::number(const std::string& option, long otherwise, long min,
                                long max) const {
  if (!has(option)) return otherwise;
  const std::string text = get(option);
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max)
    return Error(ErrorKind::invalid_argument,
                 "--" + option + " '" + text + "' is no whole number from " + std::to_string(min) +
                     " to " + std::to_string(max));
  return value;
}

int Invocation::usage_error(const std::string& text) {
  out.error(text);
  out.note("usage: kmsctl " + command.words() + " [OPTION...]" + (*command.arguments ? " " : "") +
           command.arguments + "; kmsctl " + command.words() + " --help says more");
  return kUsage;
}

int Invocation::fail(const Error& error) {
  return fail(exit_of(error), error.message);
}

int Invocation::fail(Exit exit, const std::string& text) {
  out.error(text);
  return exit;
}

}  // namespace kmsctl
