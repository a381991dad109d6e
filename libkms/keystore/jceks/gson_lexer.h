// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"

namespace kms::jceks {

// The tokens of Gson's strict JsonReader, as far as objects of strings and numbers need them. Every
// function gives nothing once the text is no longer what Gson takes.
class GsonLexer {
 public:
  explicit GsonLexer(ByteView json);

  // Skips white space and takes the next character if it is this one.
  bool accept(char c);
  // A name, or the text of a string or number.
  std::optional<std::string> quoted();
  std::optional<std::string> string_value();
  std::optional<std::int32_t> int_value();
  std::optional<std::int64_t> long_value();

 private:
  char peek();
  bool escape(std::string& out);
  std::optional<std::string> number();

  std::string text_;  // UTF-8, repaired as Java's decoder does
  std::size_t at_ = 0;
  char32_t pending_ = 0;  // high surrogate of an escape
};

}  // namespace kms::jceks
