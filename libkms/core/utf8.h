// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "core/bytes.h"

namespace kms {

// The next sequence of UTF-8. Where it is malformed, length says how many bytes one replacement
// stands for, after Java's decoder (sun.nio.cs.UTF_8): as far as the sequence could still have
// become a character; a surrogate as a whole; an unfinished sequence at the end as a whole.
struct Utf8Step {
  std::size_t length;
  bool well_formed;
};
// in must not be empty.
Utf8Step utf8_step(ByteView in) noexcept;

// The character of a well-formed sequence.
char32_t utf8_character(ByteView sequence) noexcept;

}  // namespace kms
