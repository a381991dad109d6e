// SPDX-License-Identifier: Apache-2.0
// The audit line against complete logs of real servers, its escapes, the writer, the counting.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

#include "audit/audit.h"
#include "audit/line.h"
#include "audit/writers.h"
#include "core/clock.h"
#include "vectors.h"

using namespace kms;
using unit::assert_text;

namespace {

// --- the line
// -------------------------------------------------------------------------------------

std::int64_t time_of(const std::string& line) {
  std::tm t{};
  assert_non_null(strptime(line.c_str(), "%Y-%m-%d %H:%M:%S", &t));
  return static_cast<std::int64_t>(timegm(&t)) * 1000 + std::stoi(line.substr(20, 3));
}

AuditStatus status_of(const std::string& word) {
  if (word == "OK") return AuditStatus::ok;
  if (word == "UNAUTHORIZED") return AuditStatus::unauthorized;
  if (word == "UNAUTHENTICATED") return AuditStatus::unauthenticated;
  assert_text(word, "ERROR");
  return AuditStatus::error;
}

// Takes a line of a real log apart and puts it together again.
std::string rebuilt(const std::string& line) {
  AuditEvent event;
  Accesses accesses;
  const std::size_t end = line.find_first_of(" [", 24);
  event.status = status_of(line.substr(24, end - 24));
  std::string_view rest = std::string_view(line).substr(end + 1);
  if (line[end] == '[') {
    std::string_view parts = rest.substr(0, rest.find("] "));
    rest.remove_prefix(parts.size() + 2);
    while (!parts.empty()) {
      const std::string_view part = parts.substr(0, parts.find(", "));
      parts.remove_prefix(std::min(parts.size(), part.size() + 2));
      const std::string_view name = part.substr(0, part.find('='));
      const std::string_view value = part.substr(name.size() + 1);
      if (name == "op") event.op = value;
      if (name == "key") event.key = value;
      if (name == "user") event.user = value;
      if (name == "accessCount") accesses.count = std::stoul(std::string(value));
      if (name == "interval") accesses.interval_ms = std::stol(std::string(value));
    }
  }
  event.extra = rest;
  std::string out;
  append_java_line(out, event, time_of(line), accesses);
  return out;
}

void real_lines(void**) {
  const auto json = unit::load_json("auth-vectors.json");
  std::size_t i;
  const json_t* v;
  json_array_foreach(unit::section(json, "audit", 98), i, v) {
    const std::string line = unit::text_of(v, "line");
    assert_text(rebuilt(line), line + "\n");
  }
  assert_int_equal(i, 98);
}

std::string java_line(const AuditEvent& event, std::int64_t time_ms = 0) {
  std::string out;
  append_java_line(out, event, time_ms, Accesses());
  return out;
}

void line_shapes(void**) {
  AuditEvent e;
  e.extra = "x";
  e.real_user = "never shown";
  assert_text(java_line(e), "1970-01-01 00:00:00,000 OK x\n");
  e.status = AuditStatus::error;
  e.user = "alice";
  e.key = "";  // as absent
  assert_text(java_line(e, -1), "1969-12-31 23:59:59,999 ERROR[user=alice] x\n");
  e.status = AuditStatus::ok;
  e.op = "DECRYPT_EEK";
  e.key = "k";
  e.extra = "";
  assert_text(java_line(e, 1000),
              "1970-01-01 00:00:01,000 OK[op=DECRYPT_EEK, key=k, user=alice, "
              "accessCount=1, interval=0ms] \n");
  e.status = AuditStatus::unauthorized;
  assert_text(java_line(e, 1999),
              "1970-01-01 00:00:01,999 UNAUTHORIZED[op=DECRYPT_EEK, key=k, user=alice] \n");
  // Each thread keeps its own second.
  std::thread([&] {
    assert_text(java_line(e, 0).substr(0, 24), "1970-01-01 00:00:00,000 ");
  }).join();
  assert_text(java_line(e, 1001).substr(0, 24), "1970-01-01 00:00:01,001 ");
}

std::string escaped(std::string_view value) {
  std::string out;
  append_escaped(out, value);
  return out;
}

void values_cannot_forge_lines(void**) {
  assert_text(escaped("a\nb\rc\td"), "a\\nb\\rc\\td");
  assert_text(escaped(std::string_view("\0\x1b\x7f", 3)), "\\u0000\\u001b\\u007f");
  assert_text(escaped("J\xc3\xbcrg \xf0\x9f\x98\x80 a\\b"), "J\xc3\xbcrg \xf0\x9f\x98\x80 a\\b");
  assert_text(escaped("\xc2\x85\xc2\x9f\xc2\xa0"), "\\u0085\\u009f\xc2\xa0");
  assert_text(escaped("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xae\xe2\x81\xa6"),
              "\\u2028\\u2029\\u202e\\u2066");
  // Nor bytes that are no UTF-8: a reader of another charset may see a newline in them.
  assert_text(escaped("a\x85z\xc0\x8a\xed\xa0\x80\xe2\x80"),
              "a\\x85z\\xc0\\x8a\\xed\\xa0\\x80\\xe2\\x80");

  AuditEvent e;
  e.op = "GET_KEYS";
  e.user = "eve\n2026-11-24 11:42:21,319 OK[op=DELETE_KEY, key=k, user=alice] ";
  e.extra = "\r\n";
  const std::string line = java_line(e);
  assert_int_equal(line.find('\n'), line.size() - 1);
  assert_int_equal(line.find('\r'), std::string::npos);
}

void long_values_are_cut_in_the_middle(void**) {
  for (const char* unit : {"x", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\n", "\xff"}) {
    for (const std::size_t size : {999u, 1000u, 1001u, 1002u, 1003u, 1004u, 70000u}) {
      std::string value;
      while (value.size() < size) value += unit;
      AuditEvent e;
      e.status = AuditStatus::unauthenticated;
      e.op = e.user = e.extra = value;
      e.key = value;
      const std::string line = java_line(e);
      assert_true(line.size() <= kMaxUnmarkedLine);
      assert_true(escaped(line.substr(0, line.size() - 1)) == line.substr(0, line.size() - 1));
      if (size == 70000) assert_true(line.find(" bytes left out]...") != std::string::npos);
    }
  }
  AuditEvent e;
  const std::string url(5000, 'u');
  const std::string extra = "RemoteHost:1.2.3.4 Method:GET URL:" + url + " ErrorMsg:'why'";
  e.extra = extra;
  const std::string line = java_line(e);
  assert_true(line.find("OK RemoteHost:1.2.3.4 Method:GET URL:uuu") != std::string::npos);
  assert_true(line.find("uuu ErrorMsg:'why'\n") != std::string::npos);
}

// --- the writer
// -----------------------------------------------------------------------------------

class LogFile {
 public:
  LogFile() {
    fd_ = mkstemp(path_.data());
    assert_true(fd_ >= 0);
    close(fd_);
    fd_ = open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  }
  ~LogFile() {
    close(fd_);
    unlink(path_.c_str());
  }
  int fd() const { return fd_; }
  std::string content() const { return unit::read_file(path_); }

 private:
  std::string path_ = "/tmp/kms-test-XXXXXX";
  int fd_;
};

std::unique_ptr<AuditWriter> writer_to(int fd) {
  AuditWriterParts parts;
  parts.name = "audit.log";
  parts.state = *SharedAuditState::create();
  return make_file_writer(Fd(dup(fd)), "audit.log", false, std::move(parts));
}

void assert_unavailable(const Result<void>& result) {
  assert_false(result.ok());
  assert_true(result.error().kind == ErrorKind::unavailable);
  assert_true(result.error().message.rfind("The audit log audit.log cannot be written: ", 0) == 0);
}

void writer_appends(void**) {
  const LogFile file;
  const auto writer = writer_to(file.fd());
  assert_true(writer->write("a\n").ok());
  assert_true(writer->write("").ok());
  assert_true(writer->write("b\nc\n").ok());
  assert_text(file.content(), "a\nb\nc\n");
}

void writer_tells_failures(void**) {
  const int full = open("/dev/full", O_WRONLY);
  assert_unavailable(writer_to(full)->write("a\n"));
  close(full);
  assert_unavailable(writer_to(-1)->write("a\n"));

  signal(SIGPIPE, SIG_IGN);  // as httpd does
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  close(ends[0]);
  assert_unavailable(writer_to(ends[1])->write("a\n"));
  close(ends[1]);
}

void a_torn_line_swallows_nothing(void**) {
  const LogFile file;
  const auto writer = writer_to(file.fd());
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_IGN);
  auto limit = [&](rlim_t bytes) {
    const rlimit now{bytes, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
  };
  limit(10);
  const auto first = writer->write("1234567\n");
  const auto torn = writer->write("abcdef\n");
  const auto none = writer->write("lost\n");
  limit(before.rlim_cur);
  assert_true(first.ok());
  assert_unavailable(torn);
  assert_unavailable(none);
  assert_true(writer->write("next\n").ok());
  assert_true(writer->write("last\n").ok());
  assert_text(file.content(), "1234567\nab\nnext\nlast\n");
  // Cut between two lines: nothing is torn.
  limit(static_cast<rlim_t>(file.content().size() + 2));
  const auto half = writer->write("x\ny\n");
  limit(before.rlim_cur);
  assert_unavailable(half);
  assert_true(writer->write("z\n").ok());
  assert_text(file.content(), "1234567\nab\nnext\nlast\nx\nz\n");
}

void signals_and_full_pipes_do_not_tear(void**) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(SIGUSR1, &action, nullptr);  // without SA_RESTART
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  std::string sent;
  for (int i = 0; i < 30000; ++i) sent += "line " + std::to_string(i) + "\n";

  std::atomic<bool> written{false}, good{false};
  std::thread writing([&] {
    good = writer_to(ends[1])->write(sent).ok();
    written = true;
  });
  std::string got;
  while (got.size() < sent.size()) {
    if (!written) pthread_kill(writing.native_handle(), SIGUSR1);
    char part[3000];
    const ssize_t n = read(ends[0], part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    assert_true(n > 0);
    got.append(part, static_cast<std::size_t>(n));
  }
  writing.join();
  assert_true(good);
  assert_true(got == sent);
  close(ends[0]);
  close(ends[1]);
}

void processes_and_threads_share_a_file(void**) {
  const LogFile file;
  constexpr int kProcesses = 3, kThreads = 3, kLines = 200;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid != 0) continue;
    AuditLog log(writer_to(file.fd()), {});
    std::atomic<bool> good{true};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const std::string key = std::to_string(p) + "-" + std::to_string(t);
        AuditEvent e;
        e.op = "CREATE_KEY";
        e.key = key;
        e.user = key;
        for (int i = 0; i < kLines; ++i) good = log.record(e).ok() && good;
      });
    }
    for (auto& thread : threads) thread.join();
    _exit(good ? 0 : 1);
  }
  for (int p = 0; p < kProcesses; ++p) {
    int status = -1;
    wait(&status);
    assert_int_equal(status, 0);
  }
  const std::string content = file.content();
  int lines = 0;
  for (std::size_t at = 0; at < content.size(); ++lines) {
    const std::size_t end = content.find('\n', at);
    assert_true(end != std::string::npos);
    const std::string message = content.substr(at + 24, end - at - 24);
    const std::string key = message.substr(22, 3);
    assert_text(message, "OK[op=CREATE_KEY, key=" + key + ", user=" + key + "] ");
    at = end + 1;
  }
  assert_int_equal(lines, kProcesses * kThreads * kLines);
}

// --- the counting
// ---------------------------------------------------------------------------------

constexpr std::int64_t kWindow = 100000;  // longer than any test

struct Sink {
  std::vector<std::string> writes;  // without time; intervals of a window or more as N, others as 0
  bool failing = false;
};

std::string without_time(std::string_view lines) {
  std::string out;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n') + 1;
    std::string line(lines.substr(24, end - 24));
    lines.remove_prefix(end);
    if (const std::size_t at = line.find("interval="); at != std::string::npos) {
      const std::size_t digits = line.find("ms", at) - at - 9;
      const bool whole_window = std::stol(line.substr(at + 9, digits)) >= kWindow;
      line.replace(at + 9, digits, whole_window ? "N" : "0");
    }
    out += line;
  }
  return out;
}

class SinkWriter final : public AuditWriter {
 public:
  explicit SinkWriter(Sink& sink) : sink_(sink) {}
  Result<void> write(std::string_view lines) override {
    assert_true(lines.size() <= kMaxAuditLine);
    if (sink_.failing) return Error(ErrorKind::unavailable, "full");
    sink_.writes.push_back(without_time(lines));
    return {};
  }

 private:
  Sink& sink_;
};

struct Counting {
  Sink sink;
  AuditLog log{std::make_unique<SinkWriter>(sink), {.window_ms = kWindow}};
  std::int64_t now = steady_ms();

  bool access(std::string_view user = "alice", AuditStatus status = AuditStatus::ok) {
    AuditEvent e;
    e.status = status;
    e.op = "DECRYPT_EEK";
    e.key = "k";
    e.user = user;
    return log.record(e).ok();
  }
  bool end_window() { return log.sweep(now += kWindow + 60000).ok(); }
  void assert_writes(const std::vector<std::string>& want) {
    assert_int_equal(sink.writes.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) assert_text(sink.writes[i], want[i]);
    sink.writes.clear();
  }
};

std::string counted(int n, const char* interval = "N", const std::string& user = "alice") {
  return "OK[op=DECRYPT_EEK, key=k, user=" + user + ", accessCount=" + std::to_string(n) +
         ", interval=" + interval + "ms] \n";
}
const std::string kDenied = "UNAUTHORIZED[op=DECRYPT_EEK, key=k, user=alice] \n";

void accesses_are_counted(void**) {
  Counting c;
  for (int i = 0; i < 3; ++i) assert_true(c.access());
  assert_true(c.access("bob"));
  c.assert_writes({counted(1, "0"), counted(1, "0", "bob")});
  assert_true(c.log.sweep(steady_ms()).ok());
  c.assert_writes({});
  assert_true(c.end_window());
  assert_int_equal(c.sink.writes.size(), 1);  // both in one write, in any order
  assert_true(c.sink.writes[0] == counted(3) + counted(1, "N", "bob") ||
              c.sink.writes[0] == counted(1, "N", "bob") + counted(3));
  c.sink.writes.clear();
  // The next window only counts, the one after it has nothing and forgets.
  assert_true(c.access() && c.access());
  c.assert_writes({});
  assert_true(c.end_window());
  c.assert_writes({counted(2)});
  assert_true(c.end_window());
  assert_true(c.access());
  c.assert_writes({counted(1, "0")});
}

void intervals_grow_from_the_first_access(void**) {
  std::vector<std::string> lines;
  class Raw final : public AuditWriter {
   public:
    explicit Raw(std::vector<std::string>& to) : to_(to) {}
    Result<void> write(std::string_view text) override {
      to_.emplace_back(text);
      return {};
    }
    std::vector<std::string>& to_;
  };
  AuditLog log(std::make_unique<Raw>(lines), {.window_ms = 4000});
  AuditEvent e;
  e.op = "GET_CURRENT_KEY";
  e.key = "k";
  e.user = "u";
  const std::int64_t begun = steady_ms();
  assert_true(log.record(e).ok());
  assert_true(log.sweep(begun + 5000).ok());
  assert_true(log.record(e).ok());
  assert_true(log.sweep(begun + 10000).ok());
  assert_int_equal(lines.size(), 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t interval = std::stol(lines[i].substr(lines[i].find("interval=") + 9));
    const std::int64_t want = static_cast<std::int64_t>(i) * 5000;
    assert_true(interval <= want && interval >= want - 1000);
  }
}

void a_denial_goes_after_what_was_counted(void**) {
  Counting c;
  assert_true(c.access("alice", AuditStatus::unauthorized));
  c.assert_writes({kDenied});
  assert_true(c.access() && c.access() && c.access("alice", AuditStatus::unauthorized));
  c.assert_writes({counted(1, "0"), counted(2, "0") + kDenied});
  // The entry goes on counting; a second denial finds nothing to write and forgets it.
  assert_true(c.access() && c.access("alice", AuditStatus::unauthorized));
  c.assert_writes({counted(1, "0") + kDenied});
  assert_true(c.access("alice", AuditStatus::unauthorized) && c.access());
  c.assert_writes({kDenied, counted(1, "0")});
}

void other_events_are_written_one_by_one(void**) {
  Counting c;
  AuditEvent e;
  e.op = "DECRYPT_EEK";
  e.user = "alice";
  assert_true(c.log.record(e).ok());  // no key
  e.op = "GET_KEYS";
  e.key = "k";
  for (int i = 0; i < 2; ++i) assert_true(c.log.record(e).ok());
  e.op = "DECRYPT_EEK";
  e.status = AuditStatus::error;
  assert_true(c.log.record(e).ok());
  c.assert_writes({"OK[op=DECRYPT_EEK, user=alice] \n", "OK[op=GET_KEYS, key=k, user=alice] \n",
                   "OK[op=GET_KEYS, key=k, user=alice] \n",
                   "ERROR[op=DECRYPT_EEK, key=k, user=alice] \n"});
  assert_true(c.end_window());
  c.assert_writes({});

  // Several events are one write.
  AuditEvent two[2];
  for (AuditEvent& event : two) {
    event.status = AuditStatus::unauthorized;
    event.key = "k";
    event.user = "alice";
  }
  two[0].op = "READ";
  two[1].op = "ALL";
  assert_true(c.log.record(two, 2).ok());
  assert_true(c.log.record(two, 0).ok());
  c.assert_writes(
      {"UNAUTHORIZED[op=READ, key=k, user=alice] \n"
       "UNAUTHORIZED[op=ALL, key=k, user=alice] \n"});
  AuditLog plain(std::make_unique<SinkWriter>(c.sink), {});
  two[0] = AuditEvent();
  two[0].extra = "x";
  assert_true(plain.record(two, 2).ok());
  c.assert_writes({"OK x\nUNAUTHORIZED[op=ALL, key=k, user=alice] \n"});
  assert_true(plain.sweep(0).ok() && plain.flush().ok());
}

void no_record_no_access(void**) {
  Counting c;
  c.sink.failing = true;
  assert_false(c.access());
  assert_false(c.access());
  c.sink.failing = false;
  assert_true(c.access());  // the first that was recorded
  c.assert_writes({counted(1, "0")});
  assert_true(c.access());

  // While the log fails nothing is only counted; what was counted is not lost.
  c.sink.failing = true;
  assert_false(c.end_window());
  assert_false(c.access());
  assert_false(c.access("alice", AuditStatus::unauthorized));
  assert_false(c.end_window());
  assert_false(c.log.flush().ok());
  c.sink.failing = false;
  assert_true(c.access());  // tells at once what was owed
  c.assert_writes({counted(3, "0")});
  assert_true(c.access());
  c.assert_writes({});
  assert_true(c.end_window());
  c.assert_writes({counted(1)});
}

void the_end_writes_what_is_owed(void**) {
  Counting c;
  for (int i = 0; i < 200; ++i) assert_true(c.access("user-" + std::to_string(i)));
  c.sink.writes.clear();
  assert_true(c.log.flush().ok());
  std::size_t bytes = 0;
  for (const auto& text : c.sink.writes) bytes += text.size();
  assert_true(c.sink.writes.size() > 1 && bytes > 200 * 50);
  c.sink.writes.clear();
  assert_true(c.log.flush().ok());
  c.assert_writes({});
}

void threads_lose_no_count(void**) {
  Counting c;
  constexpr int kThreads = 4, kEach = 2000;
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  std::atomic<bool> stop{false};
  std::thread sweeper([&] {
    for (std::int64_t now = steady_ms(); !stop; now += kWindow) {
      if (!c.log.sweep(now).ok()) return;
      std::this_thread::yield();
    }
  });
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) good += c.access() ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  stop = true;
  sweeper.join();
  assert_true(c.log.sweep(INT64_MAX / 2).ok());
  assert_int_equal(good, kThreads * kEach);
  // Each access is in exactly one summary. First lines (interval 0) tell of one that its summary
  // counts again.
  long sum = 0;
  for (const std::string& text : c.sink.writes) {
    if (text.find("interval=0ms") != std::string::npos) continue;
    sum += std::stol(text.substr(text.find("accessCount=") + 12));
  }
  assert_int_equal(sum, kThreads * kEach);
}

int utc(void**) {
  setenv("TZ", "UTC", 1);
  tzset();
  return 0;
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(real_lines),
      cmocka_unit_test(line_shapes),
      cmocka_unit_test(values_cannot_forge_lines),
      cmocka_unit_test(long_values_are_cut_in_the_middle),
      cmocka_unit_test(writer_appends),
      cmocka_unit_test(writer_tells_failures),
      cmocka_unit_test(a_torn_line_swallows_nothing),
      cmocka_unit_test(signals_and_full_pipes_do_not_tear),
      cmocka_unit_test(processes_and_threads_share_a_file),
      cmocka_unit_test(accesses_are_counted),
      cmocka_unit_test(intervals_grow_from_the_first_access),
      cmocka_unit_test(a_denial_goes_after_what_was_counted),
      cmocka_unit_test(other_events_are_written_one_by_one),
      cmocka_unit_test(no_record_no_access),
      cmocka_unit_test(the_end_writes_what_is_owed),
      cmocka_unit_test(threads_lose_no_count),
  };
  return cmocka_run_group_tests_name("audit", tests, utc, nullptr);
}
