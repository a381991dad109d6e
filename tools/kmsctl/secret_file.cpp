// SPDX-License-Identifier: Apache-2.0
#include "secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kmsctl {
namespace {

constexpr std::size_t kMost = 64 * 1024;

}  // namespace

Result<kms::Secret> read_secret_file(const std::string& path) {
  const bool standard = path == "-";
  const int fd = standard ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error(ErrorKind::io, path + ": " + std::strerror(errno));
  kms::Secret buffer(kMost + 1);
  std::size_t size = 0;
  ssize_t got = 0;
  while (size < buffer.size() &&
         ((got = read(fd, buffer.data() + size, buffer.size() - size)) > 0 ||
          (got < 0 && errno == EINTR)))
    size += got > 0 ? static_cast<std::size_t>(got) : 0;
  const int problem = errno;
  if (!standard) close(fd);
  if (got < 0) return Error(ErrorKind::io, path + ": " + std::strerror(problem));
  if (size > kMost) return Error(ErrorKind::io, path + ": more than 64 KiB");
  kms::ByteView text = buffer.view().first(size);
  while (!text.empty() && text.front() <= 0x20) text = text.subspan(1);
  while (!text.empty() && text.back() <= 0x20) text = text.first(text.size() - 1);
  return kms::Secret(text);
}

void warn_of_open_secret(const std::string& path, Output& out) {
  struct stat info {};
  if (path != "-" && stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
      (info.st_mode & S_IROTH) != 0)
    out.warning(path + " can be read by everybody on this host");
}

}  // namespace kmsctl
