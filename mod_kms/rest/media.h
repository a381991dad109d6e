// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

namespace kms::rest {

enum class MediaCheck { json, missing, other, unparsable };

// Looks at a Content-Type header: application/json in any case, with any parameters, is json.
// nullopt and types that Jersey has no reader for (text/plain, application/octet-stream) count as
// missing.
MediaCheck check_content_type(std::optional<std::string_view> header);

// Whether an Accept header allows application/json (kms-rest.md 1.8). Absent allows all; one that
// does not parse allows nothing.
bool accepts_json(std::optional<std::string_view> header);

}  // namespace kms::rest
