// SPDX-License-Identifier: Apache-2.0
#include "auth/tokens/journal_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace kms::tokens {
namespace {

constexpr std::size_t kWindow = 256 * 1024;  // read at a time

}  // namespace

Result<JournalFile> JournalFile::open(const std::string& path) {
  // Nonblocking, so that a FIFO of that name cannot stop the server.
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return io_error("open", path, errno);
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return io_error("read the status of", path, errno);
  if (!S_ISREG(st.st_mode)) return Error(ErrorKind::io, "Can't use " + path + ": not a file");
  JournalFile file(std::move(fd), path);
  auto head = file.bytes(0, kHeaderSize);
  if (!head.ok()) return std::move(head).error();
  file.sound_ = parse_header(head->view(), file.header_);
  return file;
}

Result<std::uint64_t> JournalFile::size() const {
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return io_error("read the status of", path_, errno);
  return static_cast<std::uint64_t>(st.st_size);
}

bool JournalFile::is_at(const std::string& path) const noexcept {
  struct stat mine, there;
  return ::fstat(fd_.get(), &mine) == 0 && ::stat(path.c_str(), &there) == 0 &&
         mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

Result<Secret> JournalFile::bytes(std::uint64_t from, std::uint64_t to) const {
  Secret out(static_cast<std::size_t>(to - from));
  std::size_t have = 0;
  while (have < out.size()) {
    const ssize_t n =
        ::pread(fd_.get(), out.data() + have, out.size() - have, static_cast<off_t>(from + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("read", path_, errno);
    if (n == 0) return Secret(out.view().first(have));
    have += static_cast<std::size_t>(n);
  }
  return out;
}

Result<JournalFile::End> JournalFile::read(std::uint64_t from, std::uint64_t to,
                                           const std::function<void(Record)>& take) const {
  std::size_t window = kWindow;
  while (from < to) {
    const std::uint64_t until = std::min<std::uint64_t>(to, from + window);
    auto part = bytes(from, until);
    if (!part.ok()) return std::move(part).error();
    ByteView rest = part->view();
    FrameState state = FrameState::incomplete;
    while (!rest.empty()) {
      Frame frame = parse_record(rest);
      state = frame.state;
      if (state != FrameState::whole) break;
      take(std::move(frame.record));
      rest = rest.subspan(frame.size);
    }
    const std::size_t taken = part->size() - rest.size();
    from += taken;
    if (state == FrameState::damaged) return End{from, state};
    const bool all = until == to || part->size() < until - (from - taken);
    if (state == FrameState::incomplete && all) return End{from, state};
    if (taken == 0) window *= 4;  // one record is longer than that
  }
  return End{from, FrameState::whole};
}

Result<void> JournalFile::append(std::uint64_t end, ByteView bytes, bool& synced) {
  synced = true;
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data() + done, bytes.size() - done,
                               static_cast<off_t>(end + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const Error error = io_error("write", path_, n < 0 ? errno : ENOSPC);
      (void)cut(end);  // the next writer does it when this one cannot
      return error;
    }
    done += static_cast<std::size_t>(n);
  }
  if (auto done_so = sync(); !done_so.ok()) {
    synced = false;
    (void)cut(end);
    return done_so;
  }
  return {};
}

Result<void> JournalFile::cut(std::uint64_t length) {
  if (::ftruncate(fd_.get(), static_cast<off_t>(length)) != 0)
    return io_error("shorten", path_, errno);
  return {};
}

Result<void> JournalFile::sync() {
  if (::fdatasync(fd_.get()) != 0) return io_error("sync", path_, errno);
  return {};
}

Result<bool> is_journal(const JournalFile& file) {
  if (file.sound()) return true;
  const auto size = file.size();
  if (!size.ok()) return size.error();
  const auto bytes = file.bytes(0, *size);
  if (!bytes.ok()) return bytes.error();
  const ByteView all = bytes->view();
  return all.empty() || has_magic(all) || find_record(all) < all.size();
}

}  // namespace kms::tokens
