// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/health.h"
#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"
#include "zookeeper/connection.h"
#include "zookeeper/options.h"

namespace kms::zookeeper {

using Deadline = std::chrono::steady_clock::time_point;

// What an operation came to.
struct Reply {
  int code = 0;  // of zookeeper.h: ZOK, ZNONODE, ZBADVERSION, ...
  bool repeated =
      false;    // the connection broke meanwhile; an earlier try may have been carried out
  Secret data;  // get
  std::int32_t version = 0;  // get, set
  std::int64_t modified_ms = 0;
  std::vector<std::string> children;

  bool ok() const noexcept { return code == 0; }
};

// Who follows a session. The functions must return soon; they may be called from two threads.
class Observer {
 public:
  virtual ~Observer() = default;
  // A watch on this node fired; it is set no more. In the thread of answers, in their order: what
  // an on_reply before it has seen is older, what a later one sees is newer.
  virtual void changed(std::string_view path) noexcept = 0;
  // The session is over, and all its watches with it.
  virtual void session_lost() noexcept = 0;
  // In the client's own thread, which may call ZooKeeper: whenever a connection was made or wake()
  // called, and at the time that the last call answered.
  virtual Deadline work() noexcept { return Deadline::max(); }
};

// The one ZooKeeper session that a process has for a server and a way to log in, as in Hadoop. It
// is made anew when it expires. Calls wait for their answer until a deadline, in which connections
// that break are borne; without a connection for some time they fail at once. Thread-safe.
class Client {
 public:
  // Shared with all others of this process that have the same options of connection.
  static std::shared_ptr<Client> of_process(const ZooKeeperOptions& options, Logger& logger);
  Client(const ZooKeeperOptions& options, Logger& logger);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void add(std::weak_ptr<Observer> observer);
  // Connects, in a thread of its own. To be called after the fork; again: nothing happens.
  void start();
  void wake();
  // degraded while there is no connection.
  Health condition() const noexcept { return health_.read(); }

  // For one request: some seconds, less while the server does not answer.
  Deadline deadline() const;

  using OnReply = std::function<void(const Reply&)>;
  // watch: the observers hear of the next change. on_reply runs in the thread of answers, also when
  // the answer comes after the deadline.
  Reply get(const std::string& path, bool watch, Deadline deadline, OnReply on_reply = {});
  // All at once; no retries.
  std::vector<Reply> get_all(const std::vector<std::string>& paths, Deadline deadline);
  Reply children(const std::string& path, Deadline deadline);
  enum class Kind { persistent, container };
  Reply create(const std::string& path, ByteView data, Kind kind, Deadline deadline);
  // version -1: any.
  Reply set(const std::string& path, ByteView data, std::int32_t version, Deadline deadline);
  Reply remove(const std::string& path, std::int32_t version, Deadline deadline);
  // Lets the server that this session is with catch up with the leader.
  Reply sync(const std::string& path, Deadline deadline);
  // Both or none: sets one node and creates another.
  struct Set {
    std::string path;
    Secret data;
    std::int32_t version;
  };
  Reply set_and_create(const Set& set, const std::string& path, ByteView data, Deadline deadline);

  // "cannot read /x: no connection to ZooKeeper (127.0.0.1:2181)"
  Error error(std::string_view what, std::string_view path, const Reply& reply) const;

 private:
  struct Call;
  using Issue = std::function<int(zhandle_t*, Call&, const void*)>;
  std::shared_ptr<Call> issue(const Issue& issue, const OnReply& on_reply);
  static bool await(Call& call, Deadline deadline);
  Reply run(const Issue& issue, Deadline deadline, const OnReply& on_reply = {});
  bool await_connection(Deadline deadline);

  static void on_event(zhandle_t* handle, int type, int state, const char* path, void* context);
  void session_event(int state);
  void keep() noexcept;
  bool open_session();
  void close_session();
  void report_absence();
  std::vector<std::shared_ptr<Observer>> observers();
  std::string name() const { return "ZooKeeper (" + options_.connection_string + ")"; }

  const ZooKeeperOptions options_;
  Logger& logger_;
  Connector connector_;
  HealthNote health_;
  std::atomic<bool> silent_{false};  // the last call had no answer in time

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  zhandle_t* handle_ = nullptr;
  bool connected_ = false, expired_ = false, stopping_ = false, woken_ = false, started_ = false;
  bool ever_connected_ = false;
  Deadline absent_since_{};
  Deadline next_report_{};
  std::thread keeper_;

  std::mutex observers_mutex_;
  std::vector<std::weak_ptr<Observer>> observers_;
};

}  // namespace kms::zookeeper
