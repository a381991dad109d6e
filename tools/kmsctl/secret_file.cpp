// SPDX-License-Identifier: Apache-2.0
#include "secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/file_io.h"
#include "core/secret_input.h"

namespace kmsctl {
namespace {

constexpr std::size_t kMost = 64 * 1024;

}  // namespace

Result<kms::Secret> read_secret_file(const std::string& path) {
  const bool standard = path == "-";
  const kms::Fd file(standard ? -1 : open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto unreadable = [&] { return Error(ErrorKind::io, path + ": " + std::strerror(errno)); };
  if (!standard && !file.valid()) return unreadable();
  const auto text = kms::read_secret(standard ? STDIN_FILENO : file.get(), kMost);
  if (!text.has_value()) return unreadable();
  if (text->size() > kMost) return Error(ErrorKind::io, path + ": more than 64 KiB");
  return kms::Secret(kms::trimmed(text->view()));
}

void warn_of_open_secret(const std::string& path, Output& out) {
  struct stat info {};
  if (path != "-" && stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
      (info.st_mode & S_IROTH) != 0)
    out.warning(path + " can be read by everybody on this host");
}

}  // namespace kmsctl
