// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "audit/group_commit.h"
#include "audit/writers.h"

namespace kms {
namespace {

class FileWriter final : public AuditWriter {
 public:
  FileWriter(Fd fd, std::string path, bool sync, AuditWriterParts parts)
      : fd_(std::move(fd)),
        path_(std::move(path)),
        parts_(std::move(parts)),
        state_(**parts_.state) {
    if (sync)
      commit_ = std::make_unique<GroupCommit>(state_.commit, [this] { return this->sync(); });
  }

  ~FileWriter() override {
    if (parts_.chain) (void)parts_.chain->release_as_maker(putter());
  }

  Result<void> write(std::string_view lines) override {
    if (state_.deleted.load(std::memory_order_relaxed)) return deleted();
    if (!commit_) return parts_.chain ? parts_.chain->through(lines, putter()) : put(lines);
    const std::uint64_t begun = commit_->begin();
    if (parts_.chain) {
      KMS_TRY(parts_.chain->through(lines, putter()));
    } else {
      KMS_TRY(put(lines));
    }
    const int error = commit_->wait(begun);
    return error == 0 ? Result<void>() : not_synced(error);
  }

  Result<void> begin() override {
    return parts_.chain ? parts_.chain->start(putter()) : Result<void>();
  }

  void attach() override {
    if (parts_.chain) parts_.chain->hold();
  }

  void poll() override {
    look();
    if (parts_.chain && parts_.logger) parts_.chain->checkpoint(*parts_.logger);
  }

  Result<void> finish() override {
    return parts_.chain ? parts_.chain->release(putter()) : Result<void>();
  }

 private:
  AuditChain::Put putter() {
    return [this](std::string_view lines) { return put(lines); };
  }

  // One write(2) where nothing is wrong.
  Result<void> put(std::string_view lines) {
    // After a torn line the next record starts on a line of its own.
    const bool was_torn = state_.torn.load(std::memory_order_relaxed);
    char newline = '\n';
    iovec parts[2] = {{&newline, was_torn ? 1u : 0u},
                      {const_cast<char*>(lines.data()), lines.size()}};
    std::size_t written = 0;  // of lines
    while (parts[0].iov_len + parts[1].iov_len > 0) {
      const ssize_t n = ::writev(fd_.get(), parts, 2);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed(n < 0 ? errno : EIO, lines.substr(0, written));
      std::size_t taken = static_cast<std::size_t>(n);
      if (parts[0].iov_len > 0) {
        parts[0].iov_len = 0;
        state_.torn.store(false, std::memory_order_relaxed);
        --taken;
      }
      written += taken;
      parts[1] = {const_cast<char*>(lines.data()) + written, lines.size() - written};
    }
    return {};
  }

  Error failed(int code, std::string_view written) {
    if (!written.empty() && written.back() != '\n')
      state_.torn.store(true, std::memory_order_relaxed);
    return audit_error(parts_.name, "cannot be written", code);
  }

  // Nobody should look for a broken disk where a process was killed.
  Error not_synced(int code) const {
    if (code != EOWNERDEAD) return audit_error(parts_.name, "cannot be synced", code);
    return Error(ErrorKind::unavailable,
                 "The audit log " + parts_.name +
                     " may not be synced: a process of the server ended while it did that");
  }

  Error deleted() const {
    return Error(ErrorKind::unavailable, "The audit log " + parts_.name +
                                             " was deleted; a graceful restart makes a new one");
  }

  int sync() {
    for (;;) {
      if (::fdatasync(fd_.get()) == 0) return 0;
      if (errno != EINTR) return errno;
    }
  }

  void say(LogLevel level, std::string_view id, std::string text) {
    if (parts_.logger) parts_.logger->log(level, id, text);
  }

  // Has somebody renamed, deleted or cut the file? Whoever finds out first says so, once.
  void look() {
    struct stat open_file, found;
    if (::fstat(fd_.get(), &open_file) != 0 || !S_ISREG(open_file.st_mode)) return;
    if (open_file.st_nlink == 0) {
      if (!state_.deleted.exchange(true)) say(LogLevel::error, "KMS0405", deleted().message);
      return;
    }
    if (open_file.st_size < last_size_ && !state_.said_truncated.exchange(true)) {
      say(LogLevel::error, "KMS0407",
          "The audit log " + parts_.name +
              " was cut by something else than this server; lines are lost");
    }
    last_size_ = open_file.st_size;
    const bool gone = ::stat(path_.c_str(), &found) != 0;
    if (gone && errno != ENOENT) return;  // a folder that the children may not read
    if (!gone && found.st_ino == open_file.st_ino && found.st_dev == open_file.st_dev) return;
    if (!state_.said_renamed.exchange(true)) {
      say(LogLevel::warn, "KMS0406",
          "The audit log " + parts_.name +
              " was renamed; lines go on into the renamed file until a graceful restart");
    }
  }

  const Fd fd_;
  const std::string path_;
  AuditWriterParts parts_;
  AuditState& state_;
  std::unique_ptr<GroupCommit> commit_;
  off_t last_size_ = 0;  // poll() only
};

}  // namespace

std::unique_ptr<AuditWriter> make_file_writer(Fd fd, std::string path, bool sync,
                                              AuditWriterParts parts) {
  return std::make_unique<FileWriter>(std::move(fd), std::move(path), sync, std::move(parts));
}

Error audit_error(std::string_view name, std::string_view what, int code) {
  std::string text = "The audit log ";
  text += name;
  text += ' ';
  text += what;
  return Error(ErrorKind::unavailable, text + ": " + std::generic_category().message(code));
}

}  // namespace kms
