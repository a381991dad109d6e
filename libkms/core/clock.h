// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace kms {

// Milliseconds since 1970-01-01T00:00:00Z, as Hadoop counts.
std::int64_t now_ms() noexcept;
std::int64_t now_us() noexcept;  // microseconds of the same
// Milliseconds of a clock that never steps back; for windows and ages only.
std::int64_t steady_ms() noexcept;
std::int64_t steady_ns() noexcept;  // nanoseconds of the same

}  // namespace kms
