// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "audit/line.h"
#include "audit/writers.h"
#include "core/clock.h"

namespace kms {
namespace {

// A write of so much to a pipe is done as a whole or not at all.
constexpr std::size_t kAtOnce = PIPE_BUF;
static_assert(kMaxAuditLine <= kAtOnce);

// Polls, about a second apart, without any progress of a reader that has something to read.
constexpr int kStalledPolls = 3;

class PipeWriter final : public AuditWriter {
 public:
  PipeWriter(int fd, bool confirm, std::int64_t timeout_ms, AuditWriterParts parts)
      : fd_(fd),
        confirm_(confirm),
        timeout_ms_(timeout_ms),
        parts_(std::move(parts)),
        pipe_((*parts_.state)->pipe) {
    ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
  }

  ~PipeWriter() override {
    if (parts_.chain) (void)parts_.chain->release_as_maker(putter());
  }

  Result<void> write(std::string_view lines) override {
    if (stalled_.load(std::memory_order_relaxed)) return unread();
    if (parts_.chain) {
      KMS_TRY(parts_.chain->through(lines, putter()));
    } else {
      KMS_TRY(put(lines));
    }
    return confirm_ ? wait_for_reader() : Result<void>();
  }

  Result<void> begin() override {
    return parts_.chain ? parts_.chain->start(putter()) : Result<void>();
  }

  void attach() override {
    if (parts_.chain) parts_.chain->hold();
  }

  // A program that is alive but stuck: nobody may take the room in the pipe for an audit log.
  void poll() override {
    const std::uint64_t read = pipe_.done.load() - waiting();
    const bool stuck = waiting() > 0 && read == last_read_;
    polls_without_progress_ = stuck ? polls_without_progress_ + 1 : 0;
    stalled_.store(polls_without_progress_ >= kStalledPolls, std::memory_order_relaxed);
    last_read_ = read;
    if (parts_.chain && parts_.logger) parts_.chain->checkpoint(*parts_.logger);
  }

  Result<void> finish() override {
    return parts_.chain ? parts_.chain->release(putter()) : Result<void>();
  }

 private:
  AuditChain::Put putter() {
    return [this](std::string_view lines) { return put(lines); };
  }

  // Whole lines, as many as go at once.
  Result<void> put(std::string_view lines) {
    const std::int64_t deadline = steady_ms() + timeout_ms_;
    while (!lines.empty()) {
      std::size_t size = lines.size();
      if (size > kAtOnce) size = lines.rfind('\n', kAtOnce - 1) + 1;
      if (size == 0) return Error(ErrorKind::internal, "An audit line is longer than a pipe takes");
      KMS_TRY(put_part(lines.substr(0, size), deadline));
      lines.remove_prefix(size);
    }
    return {};
  }

  Result<void> put_part(std::string_view part, std::int64_t deadline) {
    pipe_.begun.fetch_add(part.size());
    for (;;) {
      if (::write(fd_, part.data(), part.size()) >= 0) {
        pipe_.done.fetch_add(part.size());
        return {};
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN && wait_for_room(deadline)) continue;
      const int code = errno;
      pipe_.begun.fetch_sub(part.size());
      if (code == EAGAIN) return unread();
      return audit_error(parts_.name, "cannot be written", code);
    }
  }

  // False, with errno as it was, when the time is over.
  bool wait_for_room(std::int64_t deadline) {
    const std::int64_t left = deadline - steady_ms();
    pollfd wanted = {fd_, POLLOUT, 0};
    const bool ready = left > 0 && ::poll(&wanted, 1, static_cast<int>(left)) != 0;
    if (!ready) errno = EAGAIN;
    return ready;
  }

  std::uint64_t waiting() const {
    int bytes = 0;
    return ::ioctl(fd_, FIONREAD, &bytes) == 0 ? static_cast<std::uint64_t>(bytes) : 0;
  }

  // Our bytes are read once no more wait than were written after them. What had begun by now may
  // stand before ours; what is done beyond that surely stands behind them.
  Result<void> wait_for_reader() {
    const std::uint64_t before = pipe_.begun.load();
    const std::int64_t deadline = steady_ms() + timeout_ms_;
    long pause_ns = 20'000;
    for (;;) {
      const auto behind = static_cast<std::int64_t>(pipe_.done.load() - before);
      const auto unread_bytes = static_cast<std::int64_t>(waiting());
      if (unread_bytes == 0 || unread_bytes <= behind) return {};
      pollfd reader = {fd_, 0, 0};
      if (::poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR) != 0)
        return audit_error(parts_.name, "is not read", EPIPE);
      if (steady_ms() >= deadline) return unread();
      const timespec pause = {0, pause_ns};
      ::nanosleep(&pause, nullptr);
      pause_ns = std::min(pause_ns * 2, 1'000'000L);
    }
  }

  Error unread() const { return audit_error(parts_.name, "is not read", ETIMEDOUT); }

  const int fd_;
  const bool confirm_;
  const std::int64_t timeout_ms_;
  AuditWriterParts parts_;
  AuditState::Pipe& pipe_;
  std::atomic<bool> stalled_{false};
  std::uint64_t last_read_ = 0;     // poll() only
  int polls_without_progress_ = 0;  // poll() only
};

}  // namespace

std::unique_ptr<AuditWriter> make_pipe_writer(int fd, bool confirm, std::int64_t timeout_ms,
                                              AuditWriterParts parts) {
  return std::make_unique<PipeWriter>(fd, confirm, timeout_ms, std::move(parts));
}

}  // namespace kms
