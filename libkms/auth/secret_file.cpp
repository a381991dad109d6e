// SPDX-License-Identifier: Apache-2.0
#include "auth/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "auth/java_utf8.h"
#include "core/file_io.h"
#include "core/secret_input.h"

namespace kms {
namespace {

constexpr std::size_t kMaxSecretFile = 64 * 1024;

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
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!file.valid() || fstat(file.get(), &info) != 0) return unusable(errno);
  if (!S_ISREG(info.st_mode)) return unusable("not a regular file");

  const auto raw = read_secret(file.get(), kMaxSecretFile);
  if (!raw.has_value()) return unusable(errno);
  if (raw->empty()) return unusable("the file is empty");
  if (raw->size() > kMaxSecretFile) return unusable("the file is larger than 64 KiB");
  return {java_utf8(raw->view()), {}, 0};
}

}  // namespace kms
