// SPDX-License-Identifier: Apache-2.0
#include "core/utf8.h"

namespace kms {
namespace {

bool continues(std::uint8_t b) {
  return (b & 0xc0) == 0x80;
}

// Whether Java's decoder takes b as the second byte after lead.
bool second_fits(std::uint8_t lead, std::uint8_t b) {
  switch (lead) {
    case 0xe0:
      return b >= 0xa0 && b <= 0xbf;
    case 0xf0:
      return b >= 0x90 && b <= 0xbf;
    case 0xf4:
      return b >= 0x80 && b <= 0x8f;
    default:
      return continues(b);
  }
}

std::size_t length_by_lead(std::uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

}  // namespace

Utf8Step utf8_step(ByteView in) noexcept {
  const std::uint8_t lead = in[0];
  const std::size_t wanted = length_by_lead(lead);
  if (wanted <= 1) return {1, wanted == 1};
  std::size_t have = 1;
  while (have < wanted && have < in.size() &&
         (have == 1 ? second_fits(lead, in[1]) : continues(in[have])))
    ++have;
  if (have < wanted) return {have, false};
  const bool surrogate = lead == 0xed && in[1] >= 0xa0;
  return {wanted, !surrogate};
}

char32_t utf8_character(ByteView sequence) noexcept {
  static constexpr std::uint8_t kLeadBits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  char32_t c = sequence[0] & kLeadBits[sequence.size()];
  for (std::size_t i = 1; i < sequence.size(); ++i) c = c << 6 | (sequence[i] & 0x3fu);
  return c;
}

}  // namespace kms
