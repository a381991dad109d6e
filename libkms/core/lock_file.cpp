// SPDX-License-Identifier: Apache-2.0
#include "core/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "core/clock.h"

namespace kms {
namespace {

constexpr std::uint64_t kMagic = 0x314B434F4C534D4B;  // "KMSLOCK1"
constexpr std::uint32_t kLayout = 1;
constexpr off_t kSize = 4096;

// A generation that no earlier file of this name had, so that a reader of the old file cannot take
// the new one's count for its own.
std::uint64_t first_generation() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace

Result<std::unique_ptr<LockFile>> LockFile::open(const LockFileOptions& options) {
  const std::string& path = options.path;
  std::unique_ptr<LockFile> file(new LockFile(options));
  file->fd_ =
      Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
  if (!file->fd_.valid()) return io_error("open", path, errno);
  KMS_TRY(file->check_file(options.owner));
  KMS_TRY(file->prepare(options.timeout_ms));
  return file;
}

LockFile::~LockFile() {
  if (header_ != nullptr) ::munmap(header_, kSize);
}

// The directory may belong to a user of less rights than ours: the file must be what we think it is
// before it is given away.
Result<void> LockFile::check_file(const FileOwner& owner) {
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return io_error("read the status of", path_, errno);
  if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
    return Error(ErrorKind::io, "Can't use " + path_ + ": not a file of its own");
  const bool ours = owner.uid != static_cast<uid_t>(-1) && st.st_uid != owner.uid;
  const bool our_group = owner.gid != static_cast<gid_t>(-1) && st.st_gid != owner.gid;
  if (::geteuid() == 0 && (ours || our_group) && ::fchown(fd_.get(), owner.uid, owner.gid) != 0)
    return io_error("set the owner of", path_, errno);
  return {};
}

// Maps the file; makes it what it should be first when it is new or was emptied.
Result<void> LockFile::prepare(int timeout_ms) {
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return io_error("read the status of", path_, errno);
  if (st.st_size >= kSize) {
    KMS_TRY(map());
    if (header_->magic == kMagic && header_->layout == kLayout) return {};
    if (header_->magic != 0)
      return Error(ErrorKind::io, "Can't use " + path_ + ": not a lock file of this version");
  }
  KMS_TRY(lock(timeout_ms));
  struct Unlock {
    LockFile& file;
    ~Unlock() { file.unlock(); }
  } guard{*this};
  if (::fstat(fd_.get(), &st) != 0) return io_error("read the status of", path_, errno);
  // Written, not only extended: a full disk shows here and not as a signal at the first touch.
  if (st.st_size < kSize) {
    if (const int error = ::posix_fallocate(fd_.get(), 0, kSize); error != 0)
      return io_error("extend", path_, error);
  }
  if (header_ == nullptr) KMS_TRY(map());
  if (header_->magic == kMagic) return {};
  header_->layout = kLayout;
  header_->words.generation.store(first_generation(), std::memory_order_release);
  header_->magic = kMagic;
  return {};
}

Result<void> LockFile::map() {
  void* at = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (at == MAP_FAILED) return io_error("map", path_, errno);
  header_ = static_cast<Header*>(at);
  return {};
}

bool LockFile::is_current() const noexcept {
  struct stat mine, there;
  return ::fstat(fd_.get(), &mine) == 0 && ::lstat(path_.c_str(), &there) == 0 &&
         mine.st_nlink > 0 && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino &&
         mine.st_size >= kSize;
}

// flock() has no timeout of its own. The naps start short, since a writer that was sealing needs
// the lock for some milliseconds only.
Result<void> LockFile::lock(int timeout_ms) {
  const std::int64_t deadline = steady_ms() + timeout_ms;
  auto nap = std::chrono::milliseconds(1);
  while (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return io_error("lock", path_, errno);
    if (steady_ms() >= deadline)
      return Error(ErrorKind::unavailable,
                   "The " + of_what_ + " is being written by another process: " + path_ +
                       " stayed locked for " + std::to_string(timeout_ms) + " ms");
    std::this_thread::sleep_for(nap);
    nap = std::min(nap * 2, std::chrono::milliseconds(16));
  }
  return {};
}

void LockFile::unlock() noexcept {
  ::flock(fd_.get(), LOCK_UN);
}

}  // namespace kms
