// SPDX-License-Identifier: Apache-2.0
#include "core/secret_input.h"

#include <unistd.h>

#include <cerrno>

namespace kms {

std::optional<Secret> read_secret(int fd, std::size_t most) {
  Secret buffer(most + 1);
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t got = ::read(fd, buffer.data() + size, buffer.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  return Secret(buffer.view().first(size));
}

ByteView trimmed(ByteView text) noexcept {
  while (!text.empty() && text.front() <= 0x20) text = text.subspan(1);
  while (!text.empty() && text.back() <= 0x20) text = text.first(text.size() - 1);
  return text;
}

}  // namespace kms
