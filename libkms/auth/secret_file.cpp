// SPDX-License-Identifier: Apache-2.0
#include "auth/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "auth/java_utf8.h"

namespace kms {
namespace {

constexpr std::size_t kMaxSecretFile = 64 * 1024;

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

std::int64_t nanoseconds(const timespec& t) {
  return std::int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

SecretFile unusable(std::string why, int error = 0) {
  return {Secret(), std::move(why), error};
}
SecretFile unusable(int error) {
  return unusable(std::generic_category().message(error), error);
}

}  // namespace

FileStamp stamp_of(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  return {info.st_dev, info.st_ino, static_cast<std::uint64_t>(info.st_size),
          nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)};
}

SecretFile read_secret_file(const std::string& path) {
  // Not blocking: a FIFO of that name must not stop the start of the server.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat info {};
  if (file.fd < 0 || fstat(file.fd, &info) != 0) return unusable(errno);
  if (!S_ISREG(info.st_mode)) return unusable("not a regular file");

  Secret raw(kMaxSecretFile + 1);
  std::size_t size = 0;
  while (size < raw.size()) {
    const ssize_t n = read(file.fd, raw.data() + size, raw.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return unusable(errno);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size == 0) return unusable("the file is empty");
  if (size > kMaxSecretFile) return unusable("the file is larger than 64 KiB");
  return {java_utf8(raw.view().first(size)), {}, 0};
}

}  // namespace kms
