// SPDX-License-Identifier: Apache-2.0
// The cookie secret of a file that is replaced while cookies live.
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "auth/signer.h"
#include "crypto/base64.h"
#include "temp_dir.h"
#include "unit.h"

using namespace kms;
using unit::assert_text;
using unit::TempDir;

namespace {

constexpr std::int64_t kHour = 3600 * 1000;
constexpr std::string_view kText = "u=a&p=a&t=simple-dt&e=1";

class Recorder final : public Logger {
 public:
  void log(LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard lock(mutex_);
    lines_.append(id).append(" ").append(text).append("\n");
  }
  // What was said since the last call.
  std::string take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::string lines_;
};

Recorder recorder;

std::unique_ptr<SignerSecrets> open_signer(const std::string& path, std::int64_t keep_ms = kHour) {
  auto made = make_file_signer(path, keep_ms, recorder);
  if (!made.ok()) _fail(made.error().message.c_str(), __LINE__);
  assert_true((*made)->attach().ok());
  return std::move(made).value();
}

std::string signature(SignerSecrets& signer) {
  const auto mac = signer.sign(kText);
  assert_true(mac.ok());
  return base64_encode(*mac);
}

std::string signature_by(std::string_view secret) {
  return signature(*make_fixed_signer(Secret(secret)));
}

bool accepts(SignerSecrets& signer, std::string_view secret) {
  return signer.verify(kText, signature_by(secret));
}

// As an operator should: the name always has a whole file.
void replace(const TempDir& dir, const std::string& name, std::string_view content) {
  dir.write(name + ".tmp", content);
  std::filesystem::rename(dir.path(name + ".tmp"), dir.path(name));
}

void start(void**) {
  const TempDir dir;
  const std::string path = dir.path("secret");
  const auto missing = make_file_signer(path, kHour, recorder);
  assert_false(missing.ok());
  assert_true(missing.error().kind == ErrorKind::configuration);
  assert_text(missing.error().message, "hadoop.kms.authentication.signature.secret.file: " + path +
                                           ": No such file or directory");
  dir.write("secret", "");
  assert_false(make_file_signer(path, kHour, recorder).ok());
  dir.write("secret", "one\n");
  dir.write("secret.next", "two");
  dir.write("secret.previous", "\xff");
  const auto signer = open_signer(path);
  assert_text(signature(*signer), signature_by("one\n"));
  for (const char* good : {"one\n", "two", "\xef\xbf\xbd"}) assert_true(accepts(*signer, good));
  for (const char* bad : {"one", "two\n", "\xff"}) assert_false(accepts(*signer, bad));
  assert_false(signer->verify(kText, ""));
  assert_text(recorder.take(), "");
}

// A node of a cluster: a process that lives through all of it, and one that was started just now.
class Node {
 public:
  Node() {
    dir_.write("secret", "old");
    signer_ = open_signer(dir_.path("secret"));
  }
  void run(const std::string& command) const {
    const std::string line = "cd " + dir_.path() + " && " + command;
    assert_int_equal(std::system(line.c_str()), 0);
    signer_->poll();
  }
  void sign(std::vector<std::string>& cookies) const {
    cookies.push_back(signature(*signer_));
    cookies.push_back(signature(*open_signer(dir_.path("secret"))));
  }
  void accept(const std::vector<std::string>& cookies) const {
    const auto fresh = open_signer(dir_.path("secret"));
    for (const std::string& cookie : cookies) {
      assert_true(signer_->verify(kText, cookie));
      assert_true(fresh->verify(kText, cookie));
    }
  }
  SignerSecrets& signer() const { return *signer_; }

 private:
  TempDir dir_;
  std::unique_ptr<SignerSecrets> signer_;
};

// docs/operations.md, "Rolling the cookie secret": every cookie of every node is good on every node
// at any step, for old processes and new ones.
void rolling_over_several_nodes(void**) {
  const Node nodes[3];
  std::vector<std::string> cookies;
  const auto step = [&](const std::string& command) {
    for (const Node& node : nodes) {
      node.run(command);
      for (const Node& each : nodes) each.sign(cookies);
      for (const Node& each : nodes) each.accept(cookies);
    }
  };
  step("true");
  step("printf new > .tmp && mv .tmp secret.next");
  step("ln -f secret secret.previous && mv -f secret.next secret");
  for (const Node& node : nodes) assert_text(signature(node.signer()), signature_by("new"));
  // By renaming alone; what is signed in between is good as well.
  step("printf newer > .tmp && mv .tmp secret.next");
  for (const Node& node : nodes) {
    node.run("mv secret secret.previous");
    cookies.push_back(signature(node.signer()));
    for (const Node& each : nodes)
      for (const std::string& cookie : cookies) assert_true(each.signer().verify(kText, cookie));
    node.run("mv secret.next secret");
    cookies.erase(std::remove(cookies.begin(), cookies.end(), signature_by("old")), cookies.end());
    for (const Node& each : nodes) each.accept(cookies);
  }
  for (const Node& node : nodes) assert_text(signature(node.signer()), signature_by("newer"));
  unit::assert_contains(recorder.take(), "KMS0360 ");
}

void replaced_without_preparation(void**) {
  const TempDir dir;
  dir.write("secret", "one");
  constexpr std::int64_t kKeep = 200;
  const auto signer = open_signer(dir.path("secret"), kKeep);
  const auto other = open_signer(dir.path("secret"), kHour);
  replace(dir, "secret", "two");
  for (auto* each : {signer.get(), other.get()}) {
    each->poll();
    assert_text(signature(*each), signature_by("two"));
    assert_true(accepts(*each, "one"));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(kKeep + 50));
  for (auto* each : {signer.get(), other.get()}) each->poll();
  assert_false(accepts(*signer, "one"));
  assert_true(accepts(*signer, "two"));
  assert_true(accepts(*other, "one"));
  // Written over in place within one tick of the clock, same length.
  dir.write("secret", "tre");
  signer->poll();
  dir.write("secret", "for");
  signer->poll();
  assert_text(signature(*signer), signature_by("for"));
  // Back to a secret that was kept: it is the one that signs, and does not end with its time.
  replace(dir, "secret", "two");
  signer->poll();
  std::this_thread::sleep_for(std::chrono::milliseconds(kKeep + 50));
  signer->poll();
  assert_text(signature(*signer), signature_by("two"));
  assert_false(accepts(*signer, "for"));
  recorder.take();
}

void kept_secrets_have_an_end(void**) {
  const TempDir dir;
  dir.write("secret", "s0");
  dir.write("secret.previous", "p");
  const auto signer = open_signer(dir.path("secret"));
  for (int i = 1; i <= 20; ++i) {
    replace(dir, "secret", "s" + std::to_string(i));
    signer->poll();
  }
  int accepted = 0;
  for (int i = 0; i <= 20; ++i) accepted += accepts(*signer, "s" + std::to_string(i)) ? 1 : 0;
  assert_int_equal(accepted, 7);
  assert_text(signature(*signer), signature_by("s20"));
  assert_true(accepts(*signer, "s14"));
  assert_true(accepts(*signer, "p"));
  recorder.take();
}

void file_of_no_use(void**) {
  const TempDir dir;
  const std::string path = dir.path("secret");
  dir.write("secret", "one");
  const auto signer = open_signer(path, 0);
  const auto remains = [&](const std::string& problem) {
    signer->poll();
    assert_text(recorder.take(), "");  // it may be about to be replaced
    for (int i = 0; i < 3; ++i) signer->poll();
    assert_text(recorder.take(),
                "KMS0361 " + path + ": " + problem + "; the secret read before goes on signing\n");
    assert_text(signature(*signer), signature_by("one"));
    assert_true(accepts(*signer, "one"));
    replace(dir, "secret", "one");
    signer->poll();
  };
  unlink(path.c_str());
  remains("No such file or directory");
  replace(dir, "secret", "");
  remains("the file is empty");
  replace(dir, "secret", std::string(65537, 'x'));
  remains("the file is larger than 64 KiB");
  unlink(path.c_str());
  mkdir(path.c_str(), 0700);
  signer->poll();
  signer->poll();
  assert_text(recorder.take(),
              "KMS0361 " + path + ": not a regular file; the secret read before goes on signing\n");
  rmdir(path.c_str());
  // Gone for one look only: nothing to say. Then it has another secret.
  signer->poll();
  replace(dir, "secret", "two");
  signer->poll();
  assert_text(recorder.take(),
              "KMS0360 The secret of " + path + " has changed and signs cookies from now on\n");
  assert_text(signature(*signer), signature_by("two"));
}

void next_and_previous_of_no_use(void**) {
  const TempDir dir;
  dir.write("secret", "one");
  dir.write("secret.next", "");
  const auto signer = open_signer(dir.path("secret"));
  const std::string problem =
      "KMS0363 " + dir.path("secret.next") + ": the file is empty; no secret is taken from it\n";
  assert_text(recorder.take(), problem);  // at the start, once
  for (int i = 0; i < 3; ++i) signer->poll();
  assert_text(recorder.take(), "");
  replace(dir, "secret.next", "two");
  replace(dir, "secret.previous", std::string(65537, 'x'));
  for (int i = 0; i < 3; ++i) signer->poll();
  assert_true(accepts(*signer, "two"));
  unit::assert_contains(recorder.take(), "KMS0363 " + dir.path("secret.previous"));
  // Emptied: what it had is still what others may sign by.
  replace(dir, "secret.next", "");
  for (int i = 0; i < 3; ++i) signer->poll();
  assert_text(recorder.take(), problem);
  assert_true(accepts(*signer, "two"));
  assert_text(signature(*signer), signature_by("one"));
}

// In a child that has given up root, as httpd's have. Gives its exit code.
int as_somebody_else(const std::function<int()>& body) {
  const pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    const bool root = geteuid() == 0;
    if (root && (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) _exit(99);
    _exit(body());
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

void child_without_permission(void**) {
  const TempDir dir;
  chmod(dir.path().c_str(), 0755);
  const std::string path = dir.write("secret", "one");
  auto made = make_file_signer(path, kHour, recorder);
  assert_true(made.ok());
  SignerSecrets& signer = **made;
  chmod(path.c_str(), 0);
  recorder.take();
  const auto child = [&] {
    if (!signer.attach().ok()) return 1;
    for (int i = 0; i < 3; ++i) signer.poll();
    if (!accepts(signer, "one") || signature(signer) != signature_by("one")) return 2;
    const std::string want = "KMS0362 " + path + " cannot be read by user id " +
                             std::to_string(geteuid()) + ": give it read permission";
    const std::string said = recorder.take();
    if (!said.starts_with(want) || std::count(said.begin(), said.end(), '\n') != 1) return 3;
    return 0;
  };
  assert_int_equal(as_somebody_else(child), 0);
  // The permission comes later; nothing else changes.
  assert_int_equal(as_somebody_else([&] {
                     if (!signer.attach().ok()) return 1;
                     signer.poll();
                     return recorder.take().starts_with("KMS0362 ") && accepts(signer, "one") ? 0
                                                                                              : 2;
                   }),
                   0);
  chmod(path.c_str(), 0644);
  replace(dir, "secret", "two");
  assert_int_equal(as_somebody_else([&] {
                     if (!signer.attach().ok()) return 1;
                     // A fresh child: signs by what is there now, accepts what the parent had.
                     return accepts(signer, "one") && signature(signer) == signature_by("two") ? 0
                                                                                               : 2;
                   }),
                   0);
  recorder.take();
}

void threads_go_on_meanwhile(void**) {
  const TempDir dir;
  dir.write("secret", "s0");
  const auto signer = open_signer(dir.path("secret"));
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0}, done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      while (!stop) {
        if (!signer->verify(kText, signature(*signer))) ++refused;
        ++done;
      }
    });
  for (int i = 1; i <= 50 || done < 100; ++i) {
    replace(dir, "secret", "s" + std::to_string(i % 3));
    signer->poll();
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  assert_int_equal(refused, 0);
  recorder.take();
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(start),
      cmocka_unit_test(rolling_over_several_nodes),
      cmocka_unit_test(replaced_without_preparation),
      cmocka_unit_test(kept_secrets_have_an_end),
      cmocka_unit_test(file_of_no_use),
      cmocka_unit_test(next_and_previous_of_no_use),
      cmocka_unit_test(child_without_permission),
      cmocka_unit_test(threads_go_on_meanwhile),
  };
  return cmocka_run_group_tests_name("file_signer", tests, nullptr, nullptr);
}
