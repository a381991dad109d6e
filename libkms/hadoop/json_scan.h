// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "hadoop/wire_json.h"

namespace kms::hadoop {

// The body as UTF-8 without a byte order mark, converted into room when it came as UTF-16. Error:
// malformed_json.
Result<std::string_view> body_as_utf8(std::string_view body, std::string& room);

// Counts what the parser would have to build, without building it. Only the first value counts.
// Errors: unexpected_json when there is no value at all, too_large past the limits. Whether it is
// JSON is the parser's question.
Result<void> scan_json(std::string_view text, const JsonLimits& limits);

}  // namespace kms::hadoop
