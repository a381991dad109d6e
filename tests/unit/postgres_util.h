// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/log.h"
#include "keystore/postgres/connection.h"
#include "keystore/postgres/trustee_store.h"
#include "temp_dir.h"

namespace unit {

inline std::string postgres_script() {
  const char* top = std::getenv("top_srcdir");
  return std::filesystem::absolute(std::string(top != nullptr ? top : ".") + "/tests/postgres")
      .string();
}

// Exit status of the script with these words.
inline int postgres_script(const std::vector<std::string>& words) {
  std::string command = postgres_script();
  for (const std::string& word : words) command += " '" + word + "'";
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

inline bool eventually(const std::function<bool()>& condition, int ms = 60000) {
  const std::int64_t end = kms::steady_ms() + ms;
  while (!condition()) {
    if (kms::steady_ms() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

inline int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    _fail("free_port", 0);
  close(fd);
  return ntohs(at.sin_port);
}

// A real PostgreSQL of the test's own.
class PostgresServer {
 public:
  PostgresServer() : port_(free_port()) {
    // Its user must get to its folder.
    chmod(dir_.path().c_str(), 0755);
    if (postgres_script({"init", data()}) != 0) _fail("initdb", 0);
    start();
  }
  ~PostgresServer() { stop(SIGINT); }

  int port() const { return port_; }
  void start() {
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGINT);
      const std::string script = postgres_script(), port = std::to_string(port_);
      if (std::freopen(dir_.path("log").c_str(), "ae", stderr) == nullptr) _exit(1);
      execl(script.c_str(), script.c_str(), "run", data().c_str(), port.c_str(), nullptr);
      _exit(1);
    }
    if (!eventually([this] { return connect() != nullptr; })) _fail("PostgreSQL does not start", 0);
  }
  void stop(int signal) {
    if (pid_ <= 0) return;
    kill(pid_, signal);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  std::unique_ptr<kms::postgres::Connection> connect(
      const std::string& database = "postgres") const {
    kms::postgres::ServerOptions options;
    options.where = {"kms", database, {}};
    options.ssl_mode = "disable";
    const kms::postgres::Host host{"127.0.0.1", std::to_string(port_)};
    auto opened = kms::postgres::Connection::open(options, host, kms::steady_ms() + 10000);
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  // The first column of the first row.
  std::string run(const std::string& sql, const std::string& database = "postgres") const {
    auto connection = connect(database);
    if (connection == nullptr) _fail("no connection", 0);
    connection->set_deadline(kms::steady_ms() + 20000);
    auto rows = connection->run(sql.c_str());
    if (!rows.ok()) _fail((sql + ": " + rows.error().message).c_str(), 0);
    return rows->size() > 0 ? rows->text(0, 0) : std::string();
  }

  std::string uri(int port = 0) const {
    return "trustee://kms@127.0.0.1:" + std::to_string(port != 0 ? port : port_) + "/postgres";
  }
  kms::TrusteeOptions options() const {
    const std::string key = dir_.path("seal.key");
    if (!std::filesystem::exists(key)) {
      dir_.write("seal.key", std::string(32, 'k'));
      chmod(key.c_str(), 0600);
    }
    kms::TrusteeOptions made;
    made.seal_key_file = key;
    made.ssl_mode = "disable";
    made.require_standby = false;
    made.timeout_ms = 20000;
    return made;
  }
  const TempDir& dir() const { return dir_; }

 private:
  std::string data() const { return dir_.path("data"); }
  TempDir dir_;
  const int port_;
  pid_t pid_ = 0;
};

// Keeps what the store says.
class Lines final : public kms::Logger {
 public:
  void log(kms::LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard hold(mutex_);
    all_ += std::string(id) + " " + std::string(text) + "\n";
  }
  bool has(const std::string& part) const {
    const std::lock_guard hold(mutex_);
    return contains(all_, part);
  }

 private:
  mutable std::mutex mutex_;
  std::string all_;
};

// Between a client and the server, to lose what travels. It counts what the client asks in
// transactions, from BEGIN on: each statement ends with one Sync message.
class CuttingProxy {
 public:
  enum class Cut { none, before, after };  // the statement gets to the server, or does not

  explicit CuttingProxy(int server_port) : server_port_(server_port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = address(0);
    socklen_t size = sizeof at;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
        listen(listener_, 50) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      _fail("proxy", 0);
    port_ = ntohs(at.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~CuttingProxy() {
    shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    close(listener_);
    for (std::thread& each : carriers_) each.join();
  }
  int port() const { return port_; }
  // The n-th statement from now on, counted from 1, loses its connection.
  void cut(int n, Cut how) {
    count_ = 0;
    how_ = how;
    at_ = n;
  }
  bool was_cut() const { return at_ == 0; }

 private:
  static sockaddr_in address(int port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    return at;
  }
  void accept_all() {
    for (;;) {
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      carriers_.emplace_back([this, client] { carry(client); });
    }
  }
  static bool read_all(int fd, char* to, std::size_t n) {
    for (std::size_t done = 0; done < n;) {
      const ssize_t got = recv(fd, to + done, n - done, 0);
      if (got <= 0) return false;
      done += static_cast<std::size_t>(got);
    }
    return true;
  }
  // One message: its type, which the first one has not, its length and its content.
  static bool read_message(int fd, bool first, std::string& out) {
    const std::size_t head = first ? 4 : 5;
    out.resize(head);
    if (!read_all(fd, out.data(), head)) return false;
    std::uint32_t length = 0;
    std::memcpy(&length, out.data() + head - 4, 4);
    length = ntohl(length);
    out.resize(head - 4 + length);
    return read_all(fd, out.data() + head, length - 4);
  }
  static bool write_all(int fd, const std::string& data) {
    return send(fd, data.data(), data.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(data.size());
  }
  // A statement travels as several messages: none waits for the acknowledgement of the one before.
  static void send_at_once(int fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  void carry(int client) {
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    send_at_once(client);
    send_at_once(server);
    sockaddr_in at = address(server_port_);
    if (connect(server, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0) {
      std::atomic<bool> swallow{false};
      std::thread back([&] { answers(server, client, swallow); });
      questions(client, server, swallow);
      shutdown(server, SHUT_WR);
      back.join();
    }
    shutdown(client, SHUT_RDWR);
    close(client);
    close(server);
  }
  void questions(int client, int server, std::atomic<bool>& swallow) {
    std::string message;
    bool counting = false, ends = false;
    for (bool first = true; read_message(client, first, message); first = false) {
      if (!first && message[0] == 'P') {
        counting = counting || contains(message, "BEGIN");
        ends = contains(message, "COMMIT") || contains(message, "ROLLBACK");
      }
      const bool sync = !first && message[0] == 'S';
      const bool last = counting && sync && at_ != 0 && ++count_ == at_;
      if (sync && ends) counting = false;
      if (last) at_ = 0;
      if (last && how_ == Cut::before) return;
      if (last) swallow = true;
      if (!write_all(server, message)) return;
    }
  }
  static void answers(int server, int client, std::atomic<bool>& swallow) {
    std::string message;
    while (read_message(server, false, message)) {
      // ReadyForQuery: the server is through with the statement whose answer gets lost.
      if (swallow && message[0] == 'Z') break;
      if (!swallow && !write_all(client, message)) break;
    }
    shutdown(client, SHUT_RDWR);
    shutdown(server, SHUT_RDWR);
  }

  const int server_port_;
  int listener_ = -1, port_ = 0;
  std::atomic<int> at_{0}, count_{0};
  std::atomic<Cut> how_{Cut::none};
  std::vector<std::thread> carriers_;
  std::thread accepting_;
};

}  // namespace unit
