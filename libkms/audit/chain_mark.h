// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "audit/audit.h"
#include "core/bytes.h"

// The mark at the end of a chained line: ID:NUMBER:FLAG:HASH. In a Java line it stands behind
// " chain=", in a JSON line it is the last member, "chain". HASH is over the hash of the line with
// the number before (kNoHash for the first) and everything of this line that stands before HASH.
namespace kms {

inline constexpr std::size_t kChainIdSize = 16;  // hexadecimal digits
using ChainHash = std::array<char, 64>;          // hexadecimal digits
inline constexpr std::size_t kMaxChainMark = 120;

inline constexpr ChainHash kNoHash = [] {
  ChainHash zeros{};
  for (char& c : zeros) c = '0';
  return zeros;
}();
inline std::string_view text_of(const ChainHash& hash) {
  return {hash.data(), hash.size()};
}

struct ChainMark {
  std::string_view hashed;  // the line up to its hash
  std::string_view id;
  std::uint64_t number = 0;
  // The write before this one did not finish: lines with this number or a higher one, and a torn
  // one, may stand before it.
  bool resumes = false;
  std::string_view hash;
};
// line without its newline. None where it has no mark.
std::optional<ChainMark> parse_chain_mark(std::string_view line);

// Adds the mark to the line (without newline) that out holds from start on. The hash is
// HMAC-SHA256 with the key, or SHA-256 without one.
Result<ChainHash> append_chain_mark(std::string& out, std::size_t start, AuditFormat format,
                                    std::string_view id, std::uint64_t number, bool resumes,
                                    std::string_view previous, ByteView key);
Result<ChainHash> chain_hash(std::string_view previous, std::string_view hashed, ByteView key);

// The lines of the chain itself.
inline constexpr std::string_view kChainStart = "AUDIT_CHAIN_START";
inline constexpr std::string_view kChainEnd = "AUDIT_CHAIN_END";
// Whether line is one of them: nobody else can make one, as the operation has a fixed place.
bool is_chain_line(std::string_view line, std::string_view op);
// "NAME:VALUE" of such a line, VALUE up to the next blank; empty where it has none.
std::string_view chain_line_value(std::string_view line, std::string_view name);

}  // namespace kms
