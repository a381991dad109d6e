// SPDX-License-Identifier: Apache-2.0
#include "auth/java_utf8.h"

#include <cstring>

#include "core/utf8.h"

namespace kms {

Secret java_utf8(ByteView bytes) {
  static constexpr std::uint8_t kReplacement[] = {0xef, 0xbf, 0xbd};
  Secret wide(bytes.size() * sizeof kReplacement);
  std::size_t size = 0;
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    const ByteView out =
        step.well_formed ? bytes.first(step.length) : ByteView(kReplacement, sizeof kReplacement);
    std::memcpy(wide.data() + size, out.data(), out.size());
    size += out.size();
    bytes = bytes.subspan(step.length);
  }
  return Secret(wide.view().first(size));
}

}  // namespace kms
