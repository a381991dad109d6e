// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "core/file_io.h"
#include "unit.h"

namespace unit {

template <class F>
bool eventually(F&& condition, int seconds = 20) {
  for (int i = 0; i < seconds * 100; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// p11-kit server in a process group of its own, which ends with the object.
class P11Server {
 public:
  // Of the tokens of a library, at a socket that is not there yet.
  P11Server(std::string socket, std::string library)
      : socket_(std::move(socket)), library_(std::move(library)) {
    start();
  }
  ~P11Server() { kill(); }
  void start() {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setpgid(0, 0);
      const int null = ::open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
      ::execlp("p11-kit", "p11-kit", "server", "-f", "--provider", library_.c_str(), "-n",
               socket_.c_str(), "pkcs11:", nullptr);
      ::_exit(127);
    }
    ::setpgid(pid_, pid_);
    if (!eventually([&] { return listens(); })) _fail("p11-kit server", 0);
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::unlink(socket_.c_str());
    pid_ = -1;
  }

 private:
  // The socket is there a moment before anybody listens.
  bool listens() const {
    const kms::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address {};
    address.sun_family = AF_UNIX;
    socket_.copy(address.sun_path, sizeof address.sun_path - 1);
    return ::connect(fd.get(), reinterpret_cast<const struct sockaddr*>(&address),
                     sizeof address) == 0;
  }
  const std::string socket_, library_;
  pid_t pid_ = -1;
};

}  // namespace unit
