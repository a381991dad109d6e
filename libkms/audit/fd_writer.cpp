// SPDX-License-Identifier: Apache-2.0
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "audit/audit.h"

namespace kms {
namespace {

class FdWriter final : public AuditWriter {
 public:
  FdWriter(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  Result<void> write(std::string_view lines) override {
    // After a torn line the next record starts on a line of its own.
    const bool was_torn = torn_.load(std::memory_order_relaxed);
    char newline = '\n';
    iovec parts[2] = {{&newline, was_torn ? 1u : 0u},
                      {const_cast<char*>(lines.data()), lines.size()}};
    std::size_t written = 0;  // of lines
    while (parts[0].iov_len + parts[1].iov_len > 0) {
      const ssize_t n = ::writev(fd_, parts, 2);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed(n < 0 ? errno : EIO, lines.substr(0, written));
      std::size_t taken = static_cast<std::size_t>(n);
      if (parts[0].iov_len > 0) {
        parts[0].iov_len = 0;
        torn_.store(false, std::memory_order_relaxed);
        --taken;
      }
      written += taken;
      parts[1] = {const_cast<char*>(lines.data()) + written, lines.size() - written};
    }
    return {};
  }

 private:
  Error failed(int code, std::string_view written) {
    if (!written.empty() && written.back() != '\n') torn_.store(true, std::memory_order_relaxed);
    return Error(ErrorKind::unavailable, "The audit log " + name_ + " cannot be written: " +
                                             std::generic_category().message(code));
  }

  const int fd_;
  const std::string name_;
  std::atomic<bool> torn_{false};
};

}  // namespace

std::unique_ptr<AuditWriter> make_fd_writer(int fd, std::string name) {
  return std::make_unique<FdWriter>(fd, std::move(name));
}

}  // namespace kms
