// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "audit/writers.h"

namespace kms {
namespace {

// A line with what stands around it in its datagram.
using Datagram = std::array<std::string_view, 3>;

class DatagramWriter : public AuditWriter {
 public:
  DatagramWriter(const std::string& socket, std::int64_t timeout_ms, AuditWriterParts parts)
      : parts_(std::move(parts)), fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    address_.sun_family = AF_UNIX;
    socket.copy(address_.sun_path, sizeof address_.sun_path - 1);
    const timeval timeout = {static_cast<time_t>(timeout_ms / 1000),
                             static_cast<suseconds_t>(timeout_ms % 1000 * 1000)};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  }

  Result<void> write(std::string_view lines) override {
    while (!lines.empty()) {
      const std::size_t end = lines.find('\n');
      KMS_TRY(send(lines.substr(0, end)));
      lines.remove_prefix(end + 1);
    }
    return {};
  }

 protected:
  virtual Datagram around(std::string_view line) = 0;

 private:
  // By the socket's path each time: a receiver that was restarted is found again.
  Result<void> send(std::string_view line) {
    Datagram parts = around(line);
    std::array<iovec, std::tuple_size_v<Datagram>> vectors;
    for (std::size_t i = 0; i < parts.size(); ++i)
      vectors[i] = {const_cast<char*>(parts[i].data()), parts[i].size()};
    msghdr message{};
    message.msg_name = &address_;
    message.msg_namelen = sizeof address_;
    message.msg_iov = vectors.data();
    message.msg_iovlen = parts.size();
    for (;;) {
      if (::sendmsg(fd_.get(), &message, MSG_NOSIGNAL) >= 0) return {};
      if (errno == EINTR) continue;
      // Its queue stayed full for as long as we may wait.
      return errno == EAGAIN ? audit_error(parts_.name, "is not read", ETIMEDOUT)
                             : audit_error(parts_.name, "cannot be written", errno);
    }
  }

  AuditWriterParts parts_;
  const Fd fd_;
  sockaddr_un address_{};
};

class SyslogWriter final : public DatagramWriter {
 public:
  SyslogWriter(const std::string& socket, int facility, std::string tag, std::int64_t timeout_ms,
               AuditWriterParts parts)
      : DatagramWriter(socket, timeout_ms, std::move(parts)),
        priority_("<" + std::to_string(facility | LOG_INFO) + ">"),
        tag_(std::move(tag)) {}

 private:
  // "<86>Nov  4 11:42:21 kms-audit[4711]: "
  Datagram around(std::string_view line) override {
    thread_local std::string head;
    char stamp[32];
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::strftime(stamp, sizeof stamp, " %e %H:%M:%S ", &local);
    head.assign(priority_).append(kMonths[local.tm_mon]).append(stamp).append(tag_);
    head.append("[").append(std::to_string(::getpid())).append("]: ");
    return {head, line, {}};
  }

  const std::string priority_, tag_;
};

// systemd.io/JOURNAL_NATIVE_PROTOCOL: NAME=VALUE lines, as no value has a newline.
class JournalWriter final : public DatagramWriter {
 public:
  JournalWriter(const std::string& socket, const std::string& identifier, std::int64_t timeout_ms,
                AuditWriterParts parts)
      : DatagramWriter(socket, timeout_ms, std::move(parts)),
        tail_("\nPRIORITY=" + std::to_string(LOG_INFO) + "\nSYSLOG_FACILITY=" +
              std::to_string(LOG_FAC(LOG_AUTHPRIV)) + "\nSYSLOG_IDENTIFIER=" + identifier + "\n") {}

 private:
  Datagram around(std::string_view line) override { return {"MESSAGE=", line, tail_}; }

  const std::string tail_;
};

}  // namespace

std::unique_ptr<AuditWriter> make_syslog_writer(std::string socket, int facility, std::string tag,
                                                std::int64_t timeout_ms, AuditWriterParts parts) {
  return std::make_unique<SyslogWriter>(socket, facility, std::move(tag), timeout_ms,
                                        std::move(parts));
}

std::unique_ptr<AuditWriter> make_journal_writer(std::string socket, std::string identifier,
                                                 std::int64_t timeout_ms, AuditWriterParts parts) {
  return std::make_unique<JournalWriter>(socket, identifier, timeout_ms, std::move(parts));
}

}  // namespace kms
