// SPDX-License-Identifier: Apache-2.0
// The chain of lines: what is done to a log afterwards is found, at its line; what crashes and full
// disks leave is told apart from that.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "audit/config.h"
#include "audit/line.h"
#include "audit/verify.h"
#include "audit_util.h"
#include "temp_dir.h"

using namespace kms;
using unit::assert_text;
using Kind = AuditFinding::Kind;

namespace {

constexpr std::string_view kKey = "0123456789abcdef0123456789abcdef";

struct Chained {
  unit::TempDir dir;
  unit::LogLines said;
  AuditConfig config;
  char carried[AuditChain::kCarriedBytes] = {};
  std::unique_ptr<AuditLog> log;

  explicit Chained(AuditFormat format = AuditFormat::java, bool keyed = true) {
    config.target = *parse_audit_target(dir.path("audit.log"));
    config.format = format;
    config.chain = true;
    config.chain_carried = carried;
    if (keyed) {
      config.chain_key_file = dir.write("key", kKey);
      chmod(config.chain_key_file.c_str(), 0600);
    }
  }
  void open() {
    auto opened = open_audit_log(config, said);
    if (!opened.ok()) _fail(opened.error().message.c_str(), __LINE__);
    log = std::move(*opened);
  }
  // The last line is there once the log is gone.
  void close() { log.reset(); }
  void write(int lines) {
    for (int i = 0; i < lines; ++i)
      assert_true(unit::record(*log, "CREATE_KEY", "key-" + std::to_string(i)).ok());
  }
  const std::string& path() const { return config.target.where; }
  std::vector<std::string> lines() const { return unit::lines_of(unit::read_file(path())); }
};

AuditReport verify(const std::vector<std::string>& files, bool keyed = true,
                   AuditVerifyOptions options = {}) {
  static const Secret key(kKey);
  if (keyed) options.key = &key;
  auto report = verify_audit_chain(files, options);
  if (!report.ok()) _fail(report.error().message.c_str(), __LINE__);
  return std::move(*report);
}

std::string shown(const AuditReport& report) {
  static const char* const kNames[] = {"changed",   "removed",   "moved",     "repeated",
                                       "inserted",  "cut_off",   "no_chain",  "wrong_key",
                                       "leftover",  "unchained", "continued", "open_end"};
  std::string text;
  for (const AuditFinding& finding : report.findings)
    text += (text.empty() ? "" : " ") + std::string(kNames[static_cast<int>(finding.kind)]) + "@" +
            std::to_string(finding.line);
  return text;
}

// A fresh file each time: the file system would flush one that is written over.
std::string file_with(const unit::TempDir& dir, const std::string& text) {
  unlink(dir.path("copy.log").c_str());
  return dir.write("copy.log", text);
}

// A file of these lines.
std::string file_of(const unit::TempDir& dir, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return file_with(dir, text);
}

void for_each_kind(const std::function<void(Chained&, bool keyed)>& test) {
  for (const AuditFormat format : {AuditFormat::java, AuditFormat::json})
    for (const bool keyed : {true, false}) {
      Chained chained(format, keyed);
      test(chained, keyed);
    }
}

void a_whole_log_is_good(void**) {
  for_each_kind([](Chained& c, bool keyed) {
    c.open();
    c.write(5);
    AuditReport open = verify({c.path()}, keyed);
    assert_true(open.good());
    assert_text(shown(open), "open_end@6");
    c.close();
    const AuditReport report = verify({c.path()}, keyed);
    assert_text(shown(report), "");
    assert_true(report.good() && report.lines == 7 && report.chained == 7);
    assert_int_equal(report.rows.size(), 1);
    assert_true(report.rows[0].ended && report.rows[0].first == 1 && report.rows[0].last == 7);
    for (const std::string& line : c.lines()) assert_true(line.size() < kMaxAuditLine);
  });
}

void the_java_line_stays_in_front(void**) {
  Chained c;
  c.open();
  c.write(1);
  c.close();
  const auto lines = c.lines();
  unit::assert_contains(lines[0], " OK[op=AUDIT_CHAIN_START] Previous:none Keyed:true chain=");
  unit::assert_contains(lines[1], " OK[op=CREATE_KEY, key=key-0, user=alice]  chain=");
  unit::assert_contains(lines[2], " OK[op=AUDIT_CHAIN_END]  chain=");
  const auto mark = parse_chain_mark(lines[1]);
  assert_true(mark && mark->number == 2 && !mark->resumes);
}

// The hash can be computed with other tools: SHA-256 of the hash before and the text of the line.
void a_known_hash(void**) {
  std::string line = "x";
  const auto hash = append_chain_mark(line, 0, AuditFormat::java, "0123456789abcdef", 1, false,
                                      text_of(kNoHash), {});
  assert_true(hash.ok());
  // printf '%064dx chain=0123456789abcdef:1:-:' 0 | sha256sum
  assert_text(line,
              "x chain=0123456789abcdef:1:-:"
              "504c246b737f194948e45f58ffdfe82b1af617331723b16d9ac01c36571c8d53");
}

void any_line_removed(void**) {
  for_each_kind([](Chained& c, bool keyed) {
    c.open();
    c.write(6);
    c.close();
    const auto lines = c.lines();
    for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
      auto fewer = lines;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      assert_text(shown(verify({file_of(c.dir, fewer)}, keyed)),
                  "removed@" + std::to_string(i + 1));
    }
    // Several at once, and one more elsewhere.
    auto fewer = lines;
    fewer.erase(fewer.begin() + 5);
    fewer.erase(fewer.begin() + 1, fewer.begin() + 3);
    const AuditReport report = verify({file_of(c.dir, fewer)}, keyed);
    assert_text(shown(report), "removed@2 removed@4");
    unit::assert_contains(report.findings[0].text, "numbers 2 to 3 ");
  });
}

void any_line_changed(void**) {
  for_each_kind([](Chained& c, bool keyed) {
    c.open();
    c.write(2);
    c.close();
    const auto lines = c.lines();
    for (std::size_t i = 0; i < lines.size(); ++i)
      for (std::size_t at = 0; at < lines[i].size(); ++at) {
        auto other = lines;
        other[i][at] = static_cast<char>(other[i][at] ^ 1);
        const AuditReport report = verify({file_of(c.dir, other)}, keyed);
        // A damaged mark may show as a line that is missing, before the next one.
        const bool found = std::any_of(
            report.findings.begin(), report.findings.end(), [&](const AuditFinding& finding) {
              return finding.is_problem() && (finding.line == i + 1 || finding.line == i + 2);
            });
        if (!found) _fail(other[i].c_str(), static_cast<int>(at));
      }
    auto other = lines;
    other[2].replace(other[2].find("key-1"), 5, "key-2");
    assert_text(shown(verify({file_of(c.dir, other)}, keyed)), "changed@3");
  });
}

void lines_moved_copied_and_added(void**) {
  for_each_kind([](Chained& c, bool keyed) {
    c.open();
    c.write(6);
    c.close();
    const auto lines = c.lines();
    auto check = [&](std::vector<std::string> other, const char* want) {
      assert_text(shown(verify({file_of(c.dir, other)}, keyed)), want);
    };
    for (std::size_t i = 1; i + 2 < lines.size(); ++i) {
      auto other = lines;
      std::swap(other[i], other[i + 1]);
      check(other, ("moved@" + std::to_string(i + 2)).c_str());
    }
    auto other = lines;
    std::rotate(other.begin() + 2, other.begin() + 3, other.begin() + 6);  // the third to the sixth
    check(other, "moved@6");
    other = lines;
    other.insert(other.begin() + 4, lines[2]);
    check(other, "repeated@5");
    other = lines;
    other.insert(other.begin() + 4, "2026-11-24 11:42:21,319 OK[op=DELETE_KEY, key=k, user=eve] ");
    check(other, "inserted@5");
    other.push_back("one more");
    check(other, "inserted@5 inserted@10");
    // Moved and changed.
    other = lines;
    std::swap(other[2], other[3]);
    other[3].replace(other[3].find("key-1"), 5, "key-9");
    const AuditReport report = verify({file_of(c.dir, other)}, keyed);
    assert_text(shown(report), "moved@4");
    unit::assert_contains(report.findings[0].text, "this one was changed");
  });
}

void the_end_cut_off(void**) {
  Chained c;
  c.open();
  c.write(6);
  const AuditReport then = verify({c.path()});
  c.write(2);
  c.close();
  AuditVerifyOptions known;
  const AuditRow& row = then.rows.at(0);
  known.expected = {
      *parse_audit_checkpoint(row.id + ":" + std::to_string(row.last) + ":" + row.last_hash)};
  assert_text(shown(verify({c.path()}, true, known)), "");
  auto lines = c.lines();
  lines.resize(5);
  const std::string cut = file_of(c.dir, lines);
  // Without what is known from elsewhere it looks like a log that is still written.
  assert_text(shown(verify({cut})), "open_end@5");
  assert_text(shown(verify({cut}, true, known)), "open_end@5 cut_off@0");
  known.expected[0].hash[0] ^= 1;
  assert_text(shown(verify({c.path()}, true, known)), "changed@7");
  for (const char* bad : {"", "a:b:c", "0123456789abcdef:0:", "0123456789abcdef:1:00"})
    assert_false(parse_audit_checkpoint(bad).ok());
}

void keys_that_do_not_fit(void**) {
  Chained keyed, plain(AuditFormat::java, false);
  for (Chained* c : {&keyed, &plain}) {
    c->open();
    c->write(3);
    c->close();
  }
  assert_text(shown(verify({keyed.path()}, false)), "wrong_key@1");
  // Who has no key could otherwise write a log anew and say that there never was one.
  assert_text(shown(verify({plain.path()}, true)), "wrong_key@1");
  const Secret other(std::string_view("another key of the right size...."));
  AuditVerifyOptions options;
  options.key = &other;
  assert_text(shown(verify({keyed.path()}, false, options)), "wrong_key@1");
}

void rows_follow_each_other(void**) {
  Chained c;
  c.dir.write("audit.log", "an old line\nanother\n");  // from before there was a chain
  for (int i = 0; i < 3; ++i) {
    c.open();
    c.write(2);
    c.close();
  }
  const AuditReport report = verify({c.path()});
  assert_text(shown(report), "unchained@3");
  assert_int_equal(report.rows.size(), 3);
  // A whole row that is gone.
  auto lines = c.lines();
  lines.erase(lines.begin() + 6, lines.begin() + 10);
  assert_text(shown(verify({file_of(c.dir, lines)})), "unchained@3 removed@7");

  // A graceful restart: the old generation goes on for a while.
  c.open();
  c.write(1);
  std::unique_ptr<AuditLog> old = std::move(c.log);
  c.open();
  c.write(1);
  assert_true(unit::record(*old, "GET_KEYS").ok());
  c.write(1);
  old.reset();
  c.write(1);
  c.close();
  assert_text(shown(verify({c.path()})), "unchained@3");
}

void renamed_files_stay_connected(void**) {
  Chained c;
  c.open();
  c.write(2);
  std::unique_ptr<AuditLog> old = std::move(c.log);
  const std::string first = c.dir.path("audit.log.1");
  rename(c.path().c_str(), first.c_str());
  assert_true(unit::record(*old, "GET_KEYS").ok());  // into the renamed file
  old.reset();  // httpd clears its old configuration before it reads the new one
  c.open();
  c.write(2);
  c.close();
  assert_text(shown(verify({first, c.path()})), "");
  assert_text(shown(verify({c.path()})), "removed@1");
  AuditVerifyOptions later;
  later.continues = true;
  assert_text(shown(verify({c.path()}, true, later)), "continued@1");
  assert_text(shown(verify({first})), "");

  // A program may begin a new file at any line.
  const auto lines = c.lines();
  const std::string second = c.dir.write("second", lines[2] + "\n" + lines[3] + "\n");
  assert_text(shown(verify({second})), "removed@1");
  assert_text(shown(verify({second}, true, later)), "continued@1");
}

// --- crashes and full disks

// Gives what a test says for each write.
struct Chain {
  std::shared_ptr<SharedAuditState> state = *SharedAuditState::create();
  std::unique_ptr<AuditChain> chain =
      std::move(*AuditChain::create(state, AuditFormat::java, Secret(kKey), {}, nullptr));
  std::string file;
  std::size_t room = std::string::npos;

  AuditChain::Put put() {
    return [this](std::string_view text) -> Result<void> {
      std::string all(text);
      if ((*state)->torn.load()) all.insert(0, "\n");  // as the file writer does
      const std::string taken = all.substr(0, room);
      file += taken;
      if (taken.empty()) return Error(ErrorKind::unavailable, "full");
      (*state)->torn.store(taken.back() != '\n');
      if (taken.size() < all.size()) return Error(ErrorKind::unavailable, "full");
      return {};
    };
  }
  bool write(const char* line) { return chain->through(line, put()).ok(); }
  AuditReport verified(const unit::TempDir& dir) { return verify({file_with(dir, file)}); }
};

void failed_writes_leave_no_problem(void**) {
  const unit::TempDir dir;
  // Wherever the disk is full: in the middle of a line, between two lines of one write.
  for (std::size_t room = 0; room < 330; ++room) {
    Chain c;
    assert_true(c.write("first\n"));
    c.room = room;
    assert_false(
        c.write("of two lines the first\nand the second which is long enough to be torn\n"
                "and a third\n"));
    (void)c.write("again\n");  // where there is little room, this one is torn as well
    c.room = std::string::npos;
    assert_true(c.write("next\n") && c.write("last\n"));
    assert_true(c.chain->release_as_maker(c.put()).ok());
    const AuditReport report = c.verified(dir);
    if (!report.good()) _fail(shown(report).c_str(), static_cast<int>(room));
    // Nothing of it makes up for a line that is taken out.
    const std::size_t next = c.file.find("\nnext") + 1;
    c.file.erase(next, c.file.find('\n', next) + 1 - next);
    if (c.verified(dir).good()) _fail("removed", static_cast<int>(room));
  }
}

void a_start_on_a_full_disk(void**) {
  const unit::TempDir dir;
  Chain c;
  c.room = 0;
  assert_false(c.chain->start(c.put()).ok());
  c.room = 30;
  assert_false(c.write("lost\n"));
  c.room = std::string::npos;
  assert_true(c.write("first\n"));
  assert_true(c.chain->release_as_maker(c.put()).ok());
  assert_true(c.verified(dir).good());
  assert_int_equal(c.verified(dir).rows.at(0).last, 3);
}

void killed_writers_leave_no_problem(void**) {
  const unit::TempDir dir;
  // A process dies before its write, in the middle of it, after it.
  for (const std::size_t part : {std::size_t{0}, std::size_t{40}, std::string::npos}) {
    auto state = *SharedAuditState::create();
    auto chain =
        std::move(*AuditChain::create(state, AuditFormat::java, Secret(kKey), {}, nullptr));
    const std::string path = dir.path("killed-" + std::to_string(part));
    const Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600));
    auto parts = unit::writer_parts();
    parts.state = state;
    parts.chain = std::move(chain);
    auto writer = make_file_writer(Fd(dup(fd.get())), path, false, std::move(parts));
    assert_true(writer->write("first\n").ok());
    const pid_t pid = fork();
    if (pid == 0) {
      // What the chain does, up to the moment of death.
      AuditState::Chain& shared = (*state)->chain;
      const SharedLock lock(shared.lock);
      const int current = shared.current.load();
      std::string line = "second";
      const auto hash = append_chain_mark(
          line, 0, AuditFormat::java, {shared.id, sizeof shared.id},
          shared.links[current].number + 1, false,
          {shared.links[current].hash, sizeof shared.links[current].hash}, as_bytes(kKey));
      line += '\n';
      shared.unfinished.store(true);
      if (part != 0 && ::write(fd.get(), line.data(), std::min(part, line.size())) < 0) _exit(1);
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_true(writer->write("third\n").ok() && writer->write("fourth\n").ok());
    writer.reset();
    const AuditReport report = verify({path});
    if (!report.good()) _fail(shown(report).c_str(), static_cast<int>(part));
    assert_text(shown(report), part == 0 ? "" : "leftover@3");
  }
}

void a_host_that_crashed(void**) {
  Chained c;
  c.open();
  c.write(2);
  auto lines = c.lines();
  c.close();
  // Of the last line only a part reached the disk.
  lines.back().resize(60);
  c.dir.write("audit.log", lines[0] + "\n" + lines[1] + "\n" + lines[2]);
  c.open();
  c.write(1);
  c.close();
  const AuditReport report = verify({c.path()});
  assert_text(shown(report), "open_end@2 leftover@3");
  assert_true(report.good());
  assert_int_equal(report.rows.size(), 2);
}

void threads_and_processes_share_a_row(void**) {
  for_each_kind([](Chained& c, bool keyed) {
    c.open();
    constexpr int kProcesses = 3, kThreads = 3, kEach = 40;
    for (int p = 0; p < kProcesses; ++p) {
      if (fork() != 0) continue;
      c.log->attach();
      std::atomic<bool> good{true};
      std::vector<std::thread> threads;
      for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([&] {
          for (int i = 0; i < kEach; ++i) good = unit::record(*c.log, "GET_KEYS").ok() && good;
        });
      for (auto& thread : threads) thread.join();
      good = c.log->flush().ok() && good;
      _exit(good ? 0 : 1);
    }
    for (int p = 0; p < kProcesses; ++p) {
      int status = -1;
      wait(&status);
      assert_int_equal(status, 0);
    }
    c.close();
    const AuditReport report = verify({c.path()}, keyed);
    assert_text(shown(report), "");
    assert_int_equal(report.rows.at(0).last, kProcesses * kThreads * kEach + 2);
  });
}

void the_place_is_told_elsewhere(void**) {
  Chained c;
  c.open();
  assert_true(c.log->sweep(0).ok());
  const auto said = c.said.take();
  assert_int_equal(said.size(), 1);
  const std::string_view text = "KMS0404: The audit chain is at ";
  assert_true(said[0].starts_with(text));
  AuditVerifyOptions known;
  known.expected = {*parse_audit_checkpoint(said[0].substr(text.size()))};
  assert_true(c.log->sweep(1000).ok());
  assert_true(c.said.take().empty());
  c.close();
  assert_true(verify({c.path()}, true, known).good());
}

void odd_files(void**) {
  const unit::TempDir dir;
  assert_false(verify_audit_chain({dir.path("none")}, {}).ok());
  assert_text(shown(verify({dir.write("log", "")})), "no_chain@0");
  const AuditReport plain = verify({dir.write("log", "a line\nanother\n")});
  // It may have been put in the place of a chained one.
  assert_false(plain.good());
  assert_text(shown(plain), "no_chain@0");
  const std::string binary(300000, '\0');
  assert_text(shown(verify({dir.write("log", binary)})), "no_chain@0");
  // Only so much is told.
  std::string many;
  Chained c;
  c.open();
  c.write(1);
  c.close();
  for (const std::string& line : c.lines()) many += line + "\n";
  for (int i = 0; i < 50; ++i) many += "inserted\n";
  AuditVerifyOptions few;
  few.most_findings = 10;
  const AuditReport report = verify({dir.write("log", many)}, true, few);
  assert_true(report.problems == 50 && report.findings.size() == 10 && report.more_findings == 40);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_whole_log_is_good),
      cmocka_unit_test(the_java_line_stays_in_front),
      cmocka_unit_test(a_known_hash),
      cmocka_unit_test(any_line_removed),
      cmocka_unit_test(any_line_changed),
      cmocka_unit_test(lines_moved_copied_and_added),
      cmocka_unit_test(the_end_cut_off),
      cmocka_unit_test(keys_that_do_not_fit),
      cmocka_unit_test(rows_follow_each_other),
      cmocka_unit_test(renamed_files_stay_connected),
      cmocka_unit_test(failed_writes_leave_no_problem),
      cmocka_unit_test(a_start_on_a_full_disk),
      cmocka_unit_test(killed_writers_leave_no_problem),
      cmocka_unit_test(a_host_that_crashed),
      cmocka_unit_test(threads_and_processes_share_a_row),
      cmocka_unit_test(the_place_is_told_elsewhere),
      cmocka_unit_test(odd_files),
  };
  return cmocka_run_group_tests_name("audit_chain", tests, nullptr, nullptr);
}
