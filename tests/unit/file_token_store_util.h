// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "auth/tokens/file_token_store.h"
#include "core/log.h"
#include "temp_dir.h"
#include "token_store_checks.h"

namespace unit {

// Keeps what was logged.
class TokenLog final : public kms::Logger {
 public:
  void log(kms::LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard hold(mutex_);
    lines_.push_back(std::string(id) + " " + std::string(text));
  }
  std::size_t count(std::string_view id) {
    const std::lock_guard hold(mutex_);
    std::size_t n = 0;
    for (const auto& line : lines_) n += line.starts_with(id);
    return n;
  }
  std::string all() {
    const std::lock_guard hold(mutex_);
    std::string out;
    for (const auto& line : lines_) out += line + "\n";
    return out;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

// A journal in a folder of its own, and what the stores on it have logged.
struct Journal {
  TempDir dir;
  TokenLog log;
  std::string path = dir.path("tokens");
  std::uint64_t compact_bytes = 256 * 1024;
  int lock_timeout_ms = 20000;

  kms::Result<std::unique_ptr<kms::TokenStore>> try_open(bool check_only = false) {
    kms::FileTokenStoreOptions options;
    options.path = path;
    options.compact_bytes = compact_bytes;
    options.lock_timeout_ms = lock_timeout_ms;
    return kms::open_file_token_store(std::move(options), log, check_only);
  }
  // As the parent has it, for children to attach.
  std::unique_ptr<kms::TokenStore> open() { return got(try_open()); }
  std::unique_ptr<kms::TokenStore> attached() {
    auto store = open();
    done(store->attach());
    return store;
  }
  bool exists(const std::string& suffix) const {
    return ::access((path + suffix).c_str(), F_OK) == 0;
  }
  std::string lock_path() const { return dir.path(".tokens.lock"); }
};

// Runs body in a child, which ends with its result.
inline pid_t spawn(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  assert_true(pid > 0);
  return pid;
}

inline int wait_for(pid_t pid) {
  int status = 0;
  assert_int_equal(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace unit
