// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kms {

// White space as Java's String.trim takes it: every byte up to and with the blank.
std::string_view java_trim(std::string_view text);

// Hadoop's StringUtils.getTrimmedStrings: items between commas or newlines, trimmed, empty ones
// left out.
std::vector<std::string> split_list(std::string_view text);

// Text of a stranger for a reason phrase or a message: at most max_bytes bytes, each of them that
// is no printable ASCII character as '?'. Nothing in it can end a header line.
std::string printable(std::string_view text, std::size_t max_bytes);

}  // namespace kms
