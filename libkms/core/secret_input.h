// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>

#include "core/bytes.h"
#include "core/secret.h"

namespace kms {

// What fd gives up to its end, or one byte more than most, by which the caller sees that there is
// more. nullopt when it cannot be read: errno says why.
std::optional<Secret> read_secret(int fd, std::size_t most);

// Without the characters up to U+0020 around it, as Java trims passwords (jceks.md d.6).
ByteView trimmed(ByteView text) noexcept;

}  // namespace kms
