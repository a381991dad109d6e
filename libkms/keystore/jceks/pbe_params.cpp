// SPDX-License-Identifier: Apache-2.0
// The DER of PBE parameters. What a JDK reads is read: long-form lengths and padded integers, but
// nothing behind the two members.
#include <algorithm>
#include <limits>
#include <optional>

#include "keystore/jceks/pbe.h"

namespace kms::jceks {
namespace {

constexpr std::uint8_t kSequence = 0x30, kOctetString = 0x04, kInteger = 0x02;

// Takes one element with this tag off the front of in.
std::optional<ByteView> take(ByteView& in, std::uint8_t tag) {
  if (in.size() < 2 || in[0] != tag) return std::nullopt;
  std::size_t length = in[1], header = 2;
  if (length >= 0x80) {
    const std::size_t more = length & 0x7F;
    if (more == 0 || more > 4 || in.size() < 2 + more) return std::nullopt;
    length = 0;
    for (std::size_t i = 0; i < more; ++i) length = length << 8 | in[2 + i];
    header += more;
  }
  if (length > in.size() - header) return std::nullopt;
  const ByteView content = in.subspan(header, length);
  in = in.subspan(header + length);
  return content;
}

std::optional<std::int32_t> to_int(ByteView bytes) {
  if (bytes.empty()) return std::nullopt;
  std::int64_t n = bytes[0] & 0x80 ? -1 : 0;
  for (const std::uint8_t b : bytes) {
    n = static_cast<std::int64_t>(static_cast<std::uint64_t>(n) << 8 | b);
    if (n > std::numeric_limits<std::int32_t>::max() ||
        n < std::numeric_limits<std::int32_t>::min())
      return std::nullopt;
  }
  return static_cast<std::int32_t>(n);
}

}  // namespace

Result<PbeParams> parse_pbe_params(ByteView der) {
  const Error bad(ErrorKind::corrupt, "the PBE parameters of the entry are damaged");
  auto sequence = take(der, kSequence);
  if (!sequence.has_value() || !der.empty()) return bad;
  const auto salt = take(*sequence, kOctetString);
  const auto count = salt.has_value() ? take(*sequence, kInteger) : std::nullopt;
  if (!count.has_value() || !sequence->empty()) return bad;
  const auto iterations = to_int(*count);
  if (!iterations.has_value()) return bad;
  PbeParams params;
  if (salt->size() != params.salt.size())
    return Error(ErrorKind::corrupt, "Salt must be 8 bytes long");
  std::copy(salt->begin(), salt->end(), params.salt.begin());
  params.iterations = *iterations;
  return params;
}

Bytes encode_pbe_params(const PbeParams& params) {
  Bytes number;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto b = static_cast<std::uint8_t>(params.iterations >> shift);
    if (!number.empty() || b != 0 || shift == 0) number.push_back(b);
  }
  if (number.front() & 0x80) number.insert(number.begin(), 0);
  const std::size_t body = 2 + params.salt.size() + 2 + number.size();
  Bytes out{kSequence, static_cast<std::uint8_t>(body), kOctetString,
            static_cast<std::uint8_t>(params.salt.size())};
  for (const std::uint8_t b : params.salt) out.push_back(b);
  out.push_back(kInteger);
  out.push_back(static_cast<std::uint8_t>(number.size()));
  for (const std::uint8_t b : number) out.push_back(b);
  return out;
}

}  // namespace kms::jceks
