// SPDX-License-Identifier: Apache-2.0
#include "core/file_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace kms {
namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 30;
constexpr mode_t kNewMode = 0600, kModeBits = 07777;

std::int64_t nanoseconds(const struct timespec& t) {
  return static_cast<std::int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

std::string_view name_of(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

void step(std::string_view name) {
  if (replace_file_step != nullptr) replace_file_step(name);
}

// Mode and owner of the file that is replaced, or those of a new one. An owner that may not be set
// is left: the file is the writer's then.
Result<void> dress(int fd, const std::string& temporary, const std::string& path,
                   const FileOwner& new_owner) {
  struct stat old;
  if (::stat(path.c_str(), &old) != 0) {
    if (errno != ENOENT) return io_error("read the status of", path, errno);
    if ((new_owner.uid != static_cast<uid_t>(-1) || new_owner.gid != static_cast<gid_t>(-1)) &&
        ::geteuid() == 0 && ::fchown(fd, new_owner.uid, new_owner.gid) != 0)
      return io_error("set the owner of", temporary, errno);
    return {};
  }
  struct stat now;
  if (::fstat(fd, &now) != 0) return io_error("read the status of", temporary, errno);
  if (now.st_gid != old.st_gid) (void)!::fchown(fd, static_cast<uid_t>(-1), old.st_gid);
  if (now.st_uid != old.st_uid) (void)!::fchown(fd, old.st_uid, static_cast<gid_t>(-1));
  if (::fchmod(fd, old.st_mode & kModeBits) != 0)
    return io_error("set the mode of", temporary, errno);
  return {};
}

Result<Fd> write_temporary(const std::string& temporary, const std::string& path, ByteView data,
                           const FileOwner& new_owner) {
  KMS_TRY(remove_file(temporary));  // of a writer that died
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kNewMode));
  if (!fd.valid()) return io_error("create", temporary, errno);
  step("created");
  KMS_TRY(dress(fd.get(), temporary, path, new_owner));
  KMS_TRY(write_all(fd.get(), data, temporary));
  step("written");
  if (::fsync(fd.get()) != 0) return io_error("sync", temporary, errno);
  step("synced");
  return fd;
}

}  // namespace

Result<void> write_all(int fd, ByteView data, const std::string& path) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("write", path, errno);
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

void (*replace_file_step)(std::string_view step) = nullptr;

FileId file_id(const struct stat& st) noexcept {
  return {true, st.st_dev, st.st_ino, st.st_size, nanoseconds(st.st_mtim), nanoseconds(st.st_ctim)};
}

Error io_error(std::string_view what, std::string_view path, int error_number) {
  char buffer[128];
  std::string text = "Can't ";
  text.append(what).append(" ").append(path).append(": ");
  text +=
      ::strerror_r(error_number, buffer, sizeof buffer);  // the GNU one: the text may be elsewhere
  return Error(ErrorKind::io, std::move(text));
}

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

std::string real_path(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

std::string directory_of(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, slash == 0 ? 1 : slash));
}

std::string hidden_beside(std::string_view path, std::string_view suffix) {
  const auto name = name_of(path);
  return std::string(path.substr(0, path.size() - name.size())) + "." + std::string(name) +
         std::string(suffix);
}

Result<FileId> stat_file(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) == 0) return file_id(st);
  if (errno == ENOENT) return FileId{};
  return io_error("read the status of", path, errno);
}

Result<LoadedFile> load_file(const std::string& path) {
  LoadedFile out;
  // Nonblocking, so that a FIFO of that name cannot stop the server.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid() && errno == ENOENT) return out;
  if (!fd.valid()) return io_error("open", path, errno);
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return io_error("read the status of", path, errno);
  if (!S_ISREG(st.st_mode)) return Error(ErrorKind::io, "Can't read " + path + ": not a file");
  if (static_cast<std::uint64_t>(st.st_size) > kMaxFile)
    return Error(ErrorKind::io, "Can't read " + path + ": larger than 1 GiB");
  out.id = file_id(st);
  out.data.resize(static_cast<std::size_t>(st.st_size));
  std::size_t have = 0;
  while (have < out.data.size()) {
    const ssize_t n = ::read(fd.get(), out.data.data() + have, out.data.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("read", path, errno);
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  out.data.resize(have);
  return out;
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error("remove", path, errno);
  return {};
}

Result<void> rename_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return io_error("rename " + from + " to", to, errno);
  return {};
}

Result<void> sync_path(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return io_error("open", path, errno);
  if (::fsync(fd.get()) != 0) return io_error("sync", path, errno);
  return {};
}

Result<Replaced> replace_file(const std::string& path, ByteView data, const FileOwner& new_owner,
                              const std::function<Result<void>()>& before_rename) {
  const std::string temporary = hidden_beside(path, ".tmp");
  struct RemoveUnlessDone {
    const std::string& file;
    bool done = false;
    ~RemoveUnlessDone() {
      if (!done) ::unlink(file.c_str());
    }
  } guard{temporary};
  auto fd = write_temporary(temporary, path, data, new_owner);
  if (!fd.ok()) return std::move(fd).error();
  // Opened before the point of no return, so that only the sync itself can fail after it.
  const std::string directory = directory_of(path);
  const Fd directory_fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_fd.valid()) return io_error("open", directory, errno);
  step("prepared");
  KMS_TRY(before_rename());
  KMS_TRY(rename_file(temporary, path));
  guard.done = true;
  step("renamed");
  Replaced out;
  if (::fsync(directory_fd.get()) != 0) out.not_durable = io_error("sync", directory, errno);
  step("directory-synced");
  struct stat st;
  if (::fstat(fd->get(), &st) == 0) out.id = file_id(st);
  return out;
}

}  // namespace kms
