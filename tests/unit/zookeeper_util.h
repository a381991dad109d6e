// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/log.h"
#include "unit.h"
#include "zookeeper/client.h"
#include "zookeeper/options.h"

namespace unit {

using namespace std::chrono_literals;

// The log lines of a test.
class Lines final : public kms::Logger {
 public:
  void log(kms::LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard lock(mutex_);
    if (id != "KMS0335") lines_.push_back(std::string(id) + ": " + std::string(text));
  }
  std::size_t count(std::string_view id) const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count_if(
        lines_.begin(), lines_.end(), [&](const auto& line) { return line.starts_with(id); }));
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const std::string& line : lines_) out += line + "\n";
    return out;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

template <class Predicate>
bool eventually(std::chrono::milliseconds limit, Predicate predicate) {
  const auto end = std::chrono::steady_clock::now() + limit;
  do {
    if (predicate()) return true;
    std::this_thread::sleep_for(10ms);
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

inline std::int64_t elapsed_ms(std::int64_t since) {
  return kms::steady_ms() - since;
}

// The server that tests/interop/zookeeper runs: KMS_TEST_ZOOKEEPER says where, _DIR its folder.
class ZooKeeperServer {
 public:
  static bool available() { return std::getenv("KMS_TEST_ZOOKEEPER") != nullptr; }
  static std::string address() { return std::getenv("KMS_TEST_ZOOKEEPER"); }

  // Names of one server that make as many sessions of one process, as if they were nodes.
  static kms::ZooKeeperOptions node(int number, const std::string& path) {
    kms::ZooKeeperOptions options;
    options.connection_string = address();
    for (int i = 1; i < number; ++i) options.connection_string += "," + address();
    options.path = path;
    options.session_timeout_ms = 2000;
    options.connection_timeout_ms = 5000;
    // A server that wants SASL, for a C client that can do it.
    if (const char* keytab = std::getenv("KMS_TEST_ZOOKEEPER_KEYTAB"); keytab != nullptr) {
      options.sasl = true;
      options.keytab = keytab;
      options.principal = "kms/localhost@TEST.REALM";
      options.server_principal = "zookeeper/localhost@TEST.REALM";
    }
    return options;
  }
  // A path that no test had before.
  static std::string fresh_path(const std::string& name) {
    static int last = 0;
    return "/unit/" + name + "-" + std::to_string(kms::now_ms()) + "-" + std::to_string(++last);
  }

  static pid_t pid() {
    std::ifstream in(dir() + "/pid");
    pid_t pid = 0;
    in >> pid;
    return pid;
  }
  static void freeze() { assert_int_equal(kill(pid(), SIGSTOP), 0); }
  static void thaw() { assert_int_equal(kill(pid(), SIGCONT), 0); }
  // It comes again by itself.
  static void crash() { assert_int_equal(kill(pid(), SIGKILL), 0); }
  static void take_down() {
    std::ofstream(dir() + "/stay-down") << "\n";
    crash();
  }
  static void bring_up() { std::remove((dir() + "/stay-down").c_str()); }

 private:
  static std::string dir() {
    const char* dir = std::getenv("KMS_TEST_ZOOKEEPER_DIR");
    if (dir == nullptr) _fail("KMS_TEST_ZOOKEEPER_DIR is not set", 0);
    return dir;
  }
};

// A session to look at nodes and to write what another kind of node would.
class Peer {
 public:
  Peer() : client_(kms::zookeeper::Client::of_process(ZooKeeperServer::node(9, ""), lines_)) {
    client_->start();
  }
  kms::zookeeper::Reply get(const std::string& path) { return client_->get(path, false, soon()); }
  void put(const std::string& path, kms::ByteView data) {
    using Kind = kms::zookeeper::Client::Kind;
    for (auto slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1))
      client_->create(path.substr(0, slash), {}, Kind::persistent, soon());
    if (client_->create(path, data, Kind::persistent, soon()).ok()) return;
    assert_true(client_->set(path, data, -1, soon()).ok());
  }
  void remove(const std::string& path) { assert_true(client_->remove(path, -1, soon()).ok()); }
  std::vector<std::string> children(const std::string& path) {
    return client_->children(path, soon()).children;
  }

 private:
  static kms::zookeeper::Deadline soon() { return std::chrono::steady_clock::now() + 3s; }
  Lines lines_;
  std::shared_ptr<kms::zookeeper::Client> client_;
};

}  // namespace unit
