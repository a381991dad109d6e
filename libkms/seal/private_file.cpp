// SPDX-License-Identifier: Apache-2.0
#include "seal/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "core/file_io.h"
#include "core/secret_input.h"

namespace kms {
namespace {

constexpr std::size_t kMostText = 4096;

}  // namespace

Result<Secret> read_private_file(const std::string& path, const std::string& what,
                                 std::size_t most) {
  const auto bad = [&](const std::string& why) {
    return Error(ErrorKind::configuration, what + " " + path + ": " + why);
  };
  // Not blocking: a FIFO of that name must not stop the start of the server.
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat st;
  if (!file.valid() || ::fstat(file.get(), &st) != 0) return bad(std::strerror(errno));
  if (!S_ISREG(st.st_mode)) return bad("not a regular file");
  if ((st.st_mode & (S_IWGRP | S_IRWXO)) != 0)
    return bad("others may read or change it; its mode must be 0600 or 0640");
  auto content = read_secret(file.get(), most);
  if (!content.has_value()) return bad(std::strerror(errno));
  if (content->size() > most) return bad("it has more than " + std::to_string(most) + " bytes");
  return std::move(*content);
}

Result<Secret> read_private_text(const std::string& path, const std::string& what) {
  auto content = read_private_file(path, what, kMostText);
  if (!content.ok()) return content;
  const ByteView text = trimmed(content->view());
  if (text.empty()) return Error(ErrorKind::configuration, what + " " + path + ": it is empty");
  return Secret(text);
}

}  // namespace kms
