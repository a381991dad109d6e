// SPDX-License-Identifier: Apache-2.0
// Where audit lines go, and what is told when they do not get there.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "audit/config.h"
#include "audit/group_commit.h"
#include "audit/line.h"
#include "audit_util.h"
#include "core/clock.h"
#include "temp_dir.h"

using namespace kms;
using unit::assert_error;
using unit::assert_text;

namespace {

void pause_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

void assert_child_good(pid_t pid) {
  int status = -1;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

// --- one sync for many

struct Commit {
  std::shared_ptr<SharedAuditState> state = *SharedAuditState::create();
  std::atomic<int> syncs{0};
  std::atomic<int> error{0};
  GroupCommit commit{(*state)->commit, [this] {
                       ++syncs;
                       pause_ms(5);
                       return error.load();
                     }};
  int write() { return commit.wait(commit.begin()); }
};

void one_sync_serves_many(void**) {
  Commit c;
  constexpr int kThreads = 16, kEach = 10;
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) good += c.write() == 0 ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  assert_int_equal(good, kThreads * kEach);
  assert_true(c.syncs < kThreads * kEach / 2);
  const int before = c.syncs;
  assert_int_equal(c.write(), 0);  // alone: a sync of its own
  assert_int_equal(c.syncs, before + 1);
}

void a_failed_sync_fails_who_wrote_before_it(void**) {
  Commit c;
  c.error = EIO;
  assert_int_equal(c.write(), EIO);
  const std::uint64_t begun = c.commit.begin();
  assert_int_equal(c.write(), EIO);
  // The next sync is fine, but what the failed one dropped is not on the disk.
  c.error = 0;
  assert_int_equal(c.write(), 0);
  assert_int_equal(c.commit.wait(begun), EIO);
  assert_int_equal(c.write(), 0);
}

void processes_share_failures(void**) {
  Commit c;
  const std::uint64_t begun = c.commit.begin();
  const pid_t pid = fork();
  if (pid == 0) {
    c.error = ENOSPC;
    _exit(c.write() == ENOSPC ? 0 : 1);
  }
  assert_child_good(pid);
  assert_int_equal(c.commit.wait(begun), ENOSPC);
  assert_int_equal(c.write(), 0);
}

void processes_share_syncs(void**) {
  Commit c;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char byte;
    // Begins while the parent has written, and not synced.
    const bool good = read(ends[0], &byte, 1) == 1 && c.write() == 0;
    _exit(good ? 0 : 1);
  }
  const std::uint64_t begun = c.commit.begin();
  (*c.state)->commit.written.fetch_add(1);  // as wait() does
  assert_int_equal(write(ends[1], "x", 1), 1);
  assert_child_good(pid);
  assert_true((*c.state)->commit.synced.load() == 2);
  assert_true((*c.state)->commit.failures.load() == begun);
  assert_int_equal(c.syncs, 0);
  close(ends[0]);
  close(ends[1]);
}

void a_killed_leader_proves_nothing(void**) {
  std::shared_ptr<SharedAuditState> state = *SharedAuditState::create();
  const pid_t pid = fork();
  if (pid == 0) {
    GroupCommit dying((*state)->commit, [] {
      kill(getpid(), SIGKILL);
      return 0;
    });
    dying.wait(dying.begin());
    _exit(1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  assert_true(WIFSIGNALED(status));
  GroupCommit next((*state)->commit, [] { return 0; });
  assert_int_equal(next.wait(next.begin()), EOWNERDEAD);
  assert_int_equal(next.wait(next.begin()), 0);
}

// --- the file

struct LogFile {
  unit::TempDir dir;
  unit::LogLines said;
  std::string path = dir.path("audit.log");
  std::unique_ptr<AuditWriter> writer;

  explicit LogFile(bool sync = false) {
    writer = make_file_writer(Fd(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600)), path,
                              sync, unit::writer_parts(&said));
  }
};

void a_synced_file(void**) {
  LogFile file(true);
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) good += file.writer->write("line\n").ok() ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  assert_int_equal(good, 40);
  assert_int_equal(unit::lines_of(unit::read_file(file.path)).size(), 40);
  // What cannot be synced says so.
  auto pipe_end =
      make_file_writer(Fd(open("/dev/null", O_WRONLY)), "x", true, unit::writer_parts());
  assert_error(pipe_end->write("line\n"),
               "The audit log audit.log cannot be synced: Invalid argument");
}

void a_renamed_file_goes_on(void**) {
  LogFile file;
  file.writer->poll();
  assert_true(file.said.take().empty());
  rename(file.path.c_str(), file.dir.path("audit.log.1").c_str());
  file.writer->poll();
  file.said.assert_said("KMS0406");
  assert_true(file.writer->write("a\n").ok());
  file.dir.write("audit.log", "");  // another file in its place
  file.writer->poll();
  assert_true(file.said.take().empty());  // said once
  assert_text(unit::read_file(file.dir.path("audit.log.1")), "a\n");
}

void a_deleted_file_stops_the_service(void**) {
  LogFile file;
  assert_true(file.writer->write("a\n").ok());
  unlink(file.path.c_str());
  file.writer->poll();
  file.said.assert_said("KMS0405");
  assert_error(file.writer->write("b\n"),
               "The audit log audit.log was deleted; a graceful restart makes a new one");
  file.writer->poll();
  assert_true(file.said.take().empty());
}

void a_cut_file_is_noticed(void**) {
  LogFile file;
  assert_true(file.writer->write("a line\n").ok());
  file.writer->poll();
  assert_int_equal(truncate(file.path.c_str(), 0), 0);
  file.writer->poll();
  file.said.assert_said("KMS0407");
  assert_true(file.writer->write("b\n").ok());
}

void a_torn_end_from_a_crash_is_closed(void**) {
  const unit::TempDir dir;
  unit::LogLines said;
  AuditConfig config;
  config.target = *parse_audit_target(dir.write("audit.log", "whole\ntor"));
  auto log = open_audit_log(config, said);
  assert_true(log.ok());
  assert_true(unit::record(**log, "GET_KEYS").ok());
  const auto lines = unit::lines_of(unit::read_file(config.target.where));
  assert_int_equal(lines.size(), 3);
  assert_text(lines[1], "tor");
  config.durability = AuditDurability::fsync;
  config.target = *parse_audit_target("/dev/full");
  auto refused = open_audit_log(config, said);
  assert_false(refused.ok());
  unit::assert_contains(refused.error().message, "KMSAuditDurability fsync: it cannot be synced");
  config.target = *parse_audit_target(dir.path("no/folder"));
  assert_false(open_audit_log(config, said).ok());
}

// --- the program

struct Pipe {
  int ends[2];
  std::unique_ptr<AuditWriter> writer;
  explicit Pipe(bool confirm, int timeout_ms = 100) {
    signal(SIGPIPE, SIG_IGN);  // as httpd does
    assert_int_equal(pipe(ends), 0);
    writer = make_pipe_writer(ends[1], confirm, timeout_ms, unit::writer_parts());
  }
  ~Pipe() {
    close_reader();
    close(ends[1]);
  }
  void close_reader() {
    if (ends[0] >= 0) close(ends[0]);
    ends[0] = -1;
  }
  std::string read_some() {
    char text[65536];
    const ssize_t n = read(ends[0], text, sizeof text);
    return {text, n > 0 ? static_cast<std::size_t>(n) : 0};
  }
};

void a_dead_program_is_an_error(void**) {
  for (const bool confirm : {false, true}) {
    Pipe p(confirm);
    p.close_reader();
    assert_error(p.writer->write("a\n"), "The audit log audit.log cannot be written: Broken pipe");
  }
}

void a_program_that_does_not_read(void**) {
  Pipe p(false, 30);
  const std::string line(4000, 'x');
  int taken = 0;
  Result<void> last;
  while ((last = p.writer->write(line + "\n")).ok()) ++taken;
  assert_error(last, "The audit log audit.log is not read: Connection timed out");
  assert_int_equal(taken, 16);
  // Of a line that did not fit nothing is there; when the program reads again all is well.
  std::string got;
  while (got.size() < 16 * 4001) got += p.read_some();
  assert_true(p.writer->write("next\n").ok());
  assert_text(p.read_some(), "next\n");
}

void a_stuck_program_is_noticed_before_the_pipe_is_full(void**) {
  Pipe p(false);
  p.writer->poll();
  assert_true(p.writer->write("a\n").ok());
  for (int i = 0; i < 4; ++i) p.writer->poll();
  assert_error(p.writer->write("b\n"), "The audit log audit.log is not read: Connection timed out");
  assert_text(p.read_some(), "a\n");
  p.writer->poll();
  assert_true(p.writer->write("c\n").ok());
  // One that reads a little at a time is slow, not stuck.
  assert_true(p.writer->write("defghijkl\n").ok());
  for (int i = 0; i < 8; ++i) {
    char byte;
    assert_int_equal(read(p.ends[0], &byte, 1), 1);
    p.writer->poll();
    assert_true(p.writer->write("x\n").ok());
  }
}

void confirmed_means_read(void**) {
  Pipe p(true);
  assert_error(p.writer->write("unread\n"),
               "The audit log audit.log is not read: Connection timed out");
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> read_bytes{0};
  std::set<std::string> got;
  std::thread reader([&] {
    std::string text;
    for (;;) {
      const std::string part = p.read_some();
      if (part.empty()) break;
      text += part;
      for (std::size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1))
        got.insert(text.substr(0, end));
      read_bytes += part.size();
    }
    stop = true;
  });
  // Each call returns only after its bytes were taken out: the reader's count may lag by a moment,
  // so it is the pipe that is asked.
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i)
        good += p.writer->write(std::to_string(t) + "-" + std::to_string(i) + "\n").ok() ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  assert_int_equal(good, 800);
  close(p.ends[1]);
  reader.join();
  assert_int_equal(got.size(), 801);
  p.ends[1] = open("/dev/null", O_WRONLY);
}

void a_program_that_dies_while_it_is_waited_for(void**) {
  Pipe p(true, 5000);
  std::thread death([&] {
    pause_ms(30);
    p.close_reader();
  });
  assert_error(p.writer->write("a\n"), "The audit log audit.log is not read: Broken pipe");
  death.join();
}

void many_lines_go_in_parts(void**) {
  Pipe p(false, 5000);
  std::string sent;
  for (int i = 0; i < 3000; ++i) sent += "line " + std::to_string(i) + std::string(90, '.') + "\n";
  std::atomic<bool> good{false};
  std::thread writing([&] { good = p.writer->write(sent).ok(); });
  std::string got;
  while (got.size() < sent.size()) got += p.read_some();
  writing.join();
  assert_true(good && got == sent);
  const auto too_long = p.writer->write(std::string(5000, 'x') + "\n");
  assert_true(!too_long.ok() && too_long.error().kind == ErrorKind::internal);
}

// --- the system's logs

struct Receiver {
  unit::TempDir dir;
  std::string path = dir.path("socket");
  int fd = -1;
  void listen() {
    if (fd >= 0) close(fd);
    unlink(path.c_str());
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    assert_int_equal(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  std::string receive() {
    char text[65536];
    const ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);
    return {text, n > 0 ? static_cast<std::size_t>(n) : 0};
  }
  ~Receiver() {
    if (fd >= 0) close(fd);
  }
};

void syslog_datagrams(void**) {
  Receiver system_log;
  const auto writer =
      make_syslog_writer(system_log.path, 10 << 3, "kms-audit", 50, unit::writer_parts());
  assert_error(writer->write("a\n"),
               "The audit log audit.log cannot be written: No such file or directory");
  system_log.listen();
  assert_true(writer->write("a line\nanother\n").ok());
  const std::string first = system_log.receive();
  assert_true(first.starts_with("<86>"));
  const std::string tail = " kms-audit[" + std::to_string(getpid()) + "]: a line";
  assert_true(first.ends_with(tail));
  // "Nov  4 11:42:21"
  assert_int_equal(first.size() - tail.size(), 4 + 15);
  assert_true(system_log.receive().ends_with("]: another"));
  assert_text(system_log.receive(), "");

  // A restarted one is found again; one that went away is an error.
  system_log.listen();
  assert_true(writer->write("b\n").ok());
  assert_true(system_log.receive().ends_with("]: b"));
  close(system_log.fd);
  system_log.fd = -1;
  assert_error(writer->write("c\n"),
               "The audit log audit.log cannot be written: Connection refused");
}

void a_system_log_that_does_not_read(void**) {
  Receiver system_log;
  system_log.listen();
  const auto writer =
      make_syslog_writer(system_log.path, 10 << 3, "kms-audit", 30, unit::writer_parts());
  Result<void> last;
  for (int i = 0; i < 100000 && (last = writer->write("a\n")).ok(); ++i) continue;
  assert_error(last, "The audit log audit.log is not read: Connection timed out");
  assert_true(system_log.receive().ends_with("]: a"));
  assert_true(writer->write("b\n").ok());
}

void journal_datagrams(void**) {
  Receiver journal;
  journal.listen();
  const auto writer = make_journal_writer(journal.path, "kms", 50, unit::writer_parts());
  assert_true(writer->write("a = b\n").ok());
  assert_text(journal.receive(),
              "MESSAGE=a = b\nPRIORITY=6\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=kms\n");
}

// --- health

class Switchable final : public AuditWriter {
 public:
  explicit Switchable(std::shared_ptr<std::atomic<bool>> failing) : failing_(std::move(failing)) {}
  Result<void> write(std::string_view text) override {
    if (*failing_) return Error(ErrorKind::unavailable, "The audit log x cannot be written: full");
    written += text;
    return {};
  }
  std::string written;

 private:
  std::shared_ptr<std::atomic<bool>> failing_;
};

struct Health {
  std::shared_ptr<std::atomic<bool>> failing = std::make_shared<std::atomic<bool>>(false);
  unit::LogLines said;
  Switchable* writer;
  std::unique_ptr<AuditLog> log;
  explicit Health(bool buffered = false) {
    auto owned = std::make_unique<Switchable>(failing);
    writer = owned.get();
    log = std::make_unique<AuditLog>(
        std::move(owned),
        AuditLog::Options{.probe_ms = 1000, .buffered = buffered, .logger = &said});
  }
  bool record() { return unit::record(*log, "GET_KEYS").ok(); }
};

void failures_show(void**) {
  Health h;
  assert_true(h.record());
  assert_true(h.log->health().ok && h.log->health().last_error.empty());
  *h.failing = true;
  const std::int64_t before = now_ms();
  assert_false(h.record());
  assert_false(h.record());
  h.said.assert_said("KMS0401: The audit log x cannot be written: full; no request is served");
  AuditHealth health = h.log->health();
  assert_false(health.ok);
  assert_true(health.failing_since_ms >= before && health.failing_since_ms <= now_ms());
  assert_int_equal(health.failures, 2);
  assert_text(health.last_error, "The audit log x cannot be written: full");
  *h.failing = false;
  assert_true(h.record());
  h.said.assert_said("KMS0402");
  health = h.log->health();
  assert_true(health.ok && health.failing_since_ms == 0 && health.failures == 2);
  assert_text(health.last_error, "The audit log x cannot be written: full");
}

void a_log_that_works_again_turns_green_without_requests(void**) {
  Health h;
  *h.failing = true;
  assert_false(h.record());
  std::int64_t now = steady_ms();
  assert_true(h.log->sweep(now).ok());  // too early
  assert_int_equal(h.log->health().failures, 1);
  assert_true(h.log->sweep(now += 1100).ok());
  assert_int_equal(h.log->health().failures, 2);
  *h.failing = false;
  assert_true(h.log->sweep(now + 500).ok());  // too early again
  assert_false(h.log->health().ok);
  assert_true(h.log->sweep(now + 1100).ok());
  assert_true(h.log->health().ok);
  unit::assert_contains(h.writer->written, " OK[op=AUDIT_RESUMED] Failures:2 Seconds:");
  const std::string once = h.writer->written;
  assert_true(h.log->sweep(now + 9000).ok());
  assert_text(h.writer->written, once);
}

void all_processes_are_red_together(void**) {
  Health h;
  const pid_t pid = fork();
  if (pid == 0) {
    *h.failing = true;
    _exit(!h.record() && !h.log->health().ok ? 0 : 1);
  }
  assert_child_good(pid);
  assert_false(h.log->health().ok);
  assert_true(h.record());
  assert_true(h.log->health().ok);
}

void without_durability_the_service_goes_on(void**) {
  Health h(true);
  assert_true(h.record() && h.record());
  assert_text(h.writer->written, "");
  assert_true(h.log->sweep(steady_ms()).ok());
  assert_int_equal(unit::lines_of(h.writer->written).size(), 2);

  // Failures are seen, and nothing is lost while there is room.
  *h.failing = true;
  assert_true(h.record());
  assert_true(h.log->sweep(steady_ms()).ok());
  assert_false(h.log->health().ok);
  h.said.assert_said("KMS0401");
  int lines = 3;
  for (; h.log->health().lost_lines == 0; ++lines) assert_true(h.record());
  assert_true(lines > 10000);
  assert_true(h.log->sweep(steady_ms()).ok());
  h.said.assert_said("KMS0403: 1 lines of the audit log are lost");
  *h.failing = false;
  assert_true(h.log->sweep(steady_ms()).ok());
  h.said.assert_said("KMS0402");
  assert_true(h.record());
  assert_true(h.log->flush().ok());
  assert_int_equal(unit::lines_of(h.writer->written).size(), lines - 1 + 1);
}

void many_waiting_lines_are_written_at_once(void**) {
  Health h(true);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i)
        if (!h.record()) _fail(__FILE__, __LINE__);
    });
  for (auto& thread : threads) thread.join();
  assert_true(h.writer->written.size() > 256 * 1024);
  assert_true(h.log->flush().ok());
  assert_int_equal(unit::lines_of(h.writer->written).size(), 8000);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(one_sync_serves_many),
      cmocka_unit_test(a_failed_sync_fails_who_wrote_before_it),
      cmocka_unit_test(processes_share_failures),
      cmocka_unit_test(processes_share_syncs),
      cmocka_unit_test(a_killed_leader_proves_nothing),
      cmocka_unit_test(a_synced_file),
      cmocka_unit_test(a_renamed_file_goes_on),
      cmocka_unit_test(a_deleted_file_stops_the_service),
      cmocka_unit_test(a_cut_file_is_noticed),
      cmocka_unit_test(a_torn_end_from_a_crash_is_closed),
      cmocka_unit_test(a_dead_program_is_an_error),
      cmocka_unit_test(a_program_that_does_not_read),
      cmocka_unit_test(a_stuck_program_is_noticed_before_the_pipe_is_full),
      cmocka_unit_test(confirmed_means_read),
      cmocka_unit_test(a_program_that_dies_while_it_is_waited_for),
      cmocka_unit_test(many_lines_go_in_parts),
      cmocka_unit_test(syslog_datagrams),
      cmocka_unit_test(a_system_log_that_does_not_read),
      cmocka_unit_test(journal_datagrams),
      cmocka_unit_test(failures_show),
      cmocka_unit_test(a_log_that_works_again_turns_green_without_requests),
      cmocka_unit_test(all_processes_are_red_together),
      cmocka_unit_test(without_durability_the_service_goes_on),
      cmocka_unit_test(many_waiting_lines_are_written_at_once),
  };
  return cmocka_run_group_tests_name("audit_writers", tests, nullptr, nullptr);
}
