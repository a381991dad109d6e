// SPDX-License-Identifier: Apache-2.0
// Lines of audit logs as kmsctl reads them: what is read is a part of the line, a chain's mark is
// found again in what it was made of.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "audit/chain_mark.h"
#include "audit_line.h"

namespace {

using namespace kms;

void require(bool condition) {
  if (!condition) std::abort();
}

void line(std::string_view text) {
  if (const auto parsed = kmsctl::parse_audit_line(text)) {
    require(!parsed->time.empty());
    if (!text.starts_with('{'))
      require(text.find(parsed->user) != text.npos && text.find(parsed->key) != text.npos);
  }
  const auto mark = parse_chain_mark(text);
  if (!mark) return;
  require(text.starts_with(mark->hashed) && mark->number > 0);
  require(mark->id.size() == kChainIdSize && mark->hash.size() == kNoHash.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  line(text);
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    line(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return 0;
}
