// SPDX-License-Identifier: Apache-2.0
#include "zookeeper/client.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace kms::zookeeper {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kCallLimit{4000};   // of one request's operation
constexpr milliseconds kSilentLimit{300};  // while the server does not answer
constexpr const char* kNoConnection = "there is no connection to ZooKeeper";
constexpr milliseconds kAbsenceLimit{
    2000};  // without a connection; from then on calls fail at once
constexpr milliseconds kReopen{1000};
constexpr milliseconds kReportAgain{60000};

// The session or the connection failed, not the operation.
bool is_transient(int code) {
  return code == ZCONNECTIONLOSS || code == ZOPERATIONTIMEOUT || code == ZINVALIDSTATE ||
         code == ZSESSIONEXPIRED || code == ZCLOSING || code == ZSESSIONMOVED;
}

const char* text_of(const Secret& data) {
  return reinterpret_cast<const char*>(data.view().data());
}

const char* text_of(ByteView data) {
  return data.empty() ? "" : reinterpret_cast<const char*>(data.data());
}

thread_local const Client* keeper_of = nullptr;  // set in a client's own thread

}  // namespace

// Shared by who waits and by the completion, whichever is later.
struct Client::Call {
  std::mutex mutex;
  std::condition_variable answered;
  bool done = false;
  Reply reply;
  OnReply on_reply;
  // Of a multi: the client writes into them when the answer comes.
  std::array<zoo_op_result_t, 2> results{};
  ::Stat stat{};
  std::array<char, 1024> created{};

  static void finish(const void* data, Reply&& reply) {
    const std::unique_ptr<std::shared_ptr<Call>> held(
        static_cast<std::shared_ptr<Call>*>(const_cast<void*>(data)));
    Call& call = **held;
    if (call.on_reply) call.on_reply(reply);
    const std::lock_guard lock(call.mutex);
    call.reply = std::move(reply);
    call.done = true;
    call.answered.notify_all();
  }
  static Reply with(int code) {
    Reply reply;
    reply.code = code;
    return reply;
  }
  static void on_void(int code, const void* data) { finish(data, with(code)); }
  static void on_string(int code, const char*, const void* data) { finish(data, with(code)); }
  static void on_stat(int code, const ::Stat* stat, const void* data) {
    Reply reply = with(code);
    if (code == ZOK && stat != nullptr) reply.version = stat->version;
    finish(data, std::move(reply));
  }
  static void on_data(int code, const char* value, int size, const ::Stat* stat, const void* data) {
    Reply reply = with(code);
    if (code == ZOK) {
      if (value != nullptr && size > 0)
        reply.data = Secret(std::string_view(value, static_cast<std::size_t>(size)));
      reply.version = stat->version;
      reply.modified_ms = stat->mtime;
    }
    finish(data, std::move(reply));
  }
  static void on_strings(int code, const ::String_vector* names, const void* data) {
    Reply reply = with(code);
    for (int i = 0; code == ZOK && names != nullptr && i < names->count; ++i)
      reply.children.emplace_back(names->data[i]);
    finish(data, std::move(reply));
  }
};

std::shared_ptr<Client> Client::of_process(const ZooKeeperOptions& options, Logger& logger) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Client>> clients;
  std::string key;
  for (const std::string& part :
       {options.connection_string, std::string(options.sasl ? "sasl" : ""), options.keytab,
        options.principal, options.server_principal, std::string(options.ssl ? "ssl" : ""),
        options.keystore, options.truststore})
    key += part + '\n';
  const std::lock_guard lock(mutex);
  std::weak_ptr<Client>& known = clients[key];
  std::shared_ptr<Client> client = known.lock();
  if (!client) known = client = std::make_shared<Client>(options, logger);
  return client;
}

Client::Client(const ZooKeeperOptions& options, Logger& logger)
    : options_(options), logger_(logger), connector_(options_, logger) {
  health_.set(HealthState::degraded, kNoConnection);
}

Client::~Client() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (keeper_.joinable()) keeper_.join();
}

void Client::add(std::weak_ptr<Observer> observer) {
  const std::lock_guard lock(observers_mutex_);
  observers_.erase(std::remove_if(observers_.begin(), observers_.end(),
                                  [](const auto& known) { return known.expired(); }),
                   observers_.end());
  observers_.push_back(std::move(observer));
}

std::vector<std::shared_ptr<Observer>> Client::observers() {
  const std::lock_guard lock(observers_mutex_);
  std::vector<std::shared_ptr<Observer>> out;
  for (const auto& known : observers_)
    if (auto observer = known.lock()) out.push_back(std::move(observer));
  return out;
}

void Client::start() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_all();
  if (started_) return;
  started_ = true;
  absent_since_ = Clock::now();
  next_report_ = absent_since_ + kAbsenceLimit;
  keeper_ = std::thread([this] { keep(); });
}

void Client::wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

Deadline Client::deadline() const {
  const milliseconds limit =
      std::min(kCallLimit, milliseconds(std::max<std::int64_t>(options_.connection_timeout_ms, 1)));
  return Clock::now() + (silent_.load(std::memory_order_relaxed) ? kSilentLimit : limit);
}

// --- calls

std::shared_ptr<Client::Call> Client::issue(const Issue& issue, const OnReply& on_reply) {
  auto call = std::make_shared<Call>();
  call->on_reply = on_reply;
  const std::lock_guard lock(mutex_);
  if (handle_ == nullptr) return nullptr;
  auto held = std::make_unique<std::shared_ptr<Call>>(call);
  const int code = issue(handle_, *call, held.get());
  if (code == ZOK) {
    static_cast<void>(held.release());  // the completion has it
  } else {
    call->reply.code = code;
    call->done = true;
  }
  return call;
}

bool Client::await(Call& call, Deadline deadline) {
  std::unique_lock lock(call.mutex);
  return call.answered.wait_until(lock, deadline, [&] { return call.done; });
}

bool Client::await_connection(Deadline deadline) {
  std::unique_lock lock(mutex_);
  while (!connected_) {
    const Deadline now = Clock::now();
    if (!started_ || stopping_ || now >= deadline) return false;
    if (now - absent_since_ >= kAbsenceLimit) return false;
    // Nobody but this thread makes a session anew.
    if (keeper_of == this && (expired_ || handle_ == nullptr)) return false;
    changed_.wait_until(lock, std::min(deadline, absent_since_ + kAbsenceLimit));
  }
  return true;
}

Reply Client::run(const Issue& what, Deadline deadline, const OnReply& on_reply) {
  bool repeated = false;
  for (;;) {
    Reply reply = Call::with(ZCONNECTIONLOSS);
    if (await_connection(deadline)) {
      if (const auto call = issue(what, on_reply); call) {
        if (!await(*call, deadline)) {
          silent_.store(true, std::memory_order_relaxed);
          reply.code = ZOPERATIONTIMEOUT;
          reply.repeated = true;
          return reply;
        }
        reply = std::move(call->reply);
        reply.repeated = repeated;
        if (!is_transient(reply.code)) {
          silent_.store(false, std::memory_order_relaxed);
          return reply;
        }
        repeated = true;
      }
      std::this_thread::sleep_for(milliseconds(10));  // until the loss shows in connected_
    } else {
      reply.repeated = repeated;
      return reply;
    }
  }
}

Reply Client::get(const std::string& path, bool watch, Deadline deadline, OnReply on_reply) {
  return run(
      [&](zhandle_t* handle, Call&, const void* held) {
        return zoo_aget(handle, path.c_str(), watch ? 1 : 0, Call::on_data, held);
      },
      deadline, on_reply);
}

std::vector<Reply> Client::get_all(const std::vector<std::string>& paths, Deadline deadline) {
  std::vector<std::shared_ptr<Call>> calls;
  for (const std::string& path : paths)
    calls.push_back(issue(
        [&](zhandle_t* handle, Call&, const void* held) {
          return zoo_aget(handle, path.c_str(), 0, Call::on_data, held);
        },
        {}));
  std::vector<Reply> replies;
  for (const auto& call : calls)
    replies.push_back(call && await(*call, deadline) ? std::move(call->reply)
                                                     : Call::with(ZCONNECTIONLOSS));
  return replies;
}

Reply Client::children(const std::string& path, Deadline deadline) {
  return run(
      [&](zhandle_t* handle, Call&, const void* held) {
        return zoo_aget_children(handle, path.c_str(), 0, Call::on_strings, held);
      },
      deadline);
}

Reply Client::create(const std::string& path, ByteView data, Kind kind, Deadline deadline) {
  return run(
      [&](zhandle_t* handle, Call&, const void* held) {
        return zoo_acreate(handle, path.c_str(), text_of(data), static_cast<int>(data.size()),
                           connector_.acl(), kind == Kind::container ? ZOO_CONTAINER : 0,
                           Call::on_string, held);
      },
      deadline);
}

Reply Client::set(const std::string& path, ByteView data, std::int32_t version, Deadline deadline) {
  return run(
      [&](zhandle_t* handle, Call&, const void* held) {
        return zoo_aset(handle, path.c_str(), text_of(data), static_cast<int>(data.size()), version,
                        Call::on_stat, held);
      },
      deadline);
}

Reply Client::remove(const std::string& path, std::int32_t version, Deadline deadline) {
  return run(
      [&](zhandle_t* handle, Call&, const void* held) {
        return zoo_adelete(handle, path.c_str(), version, Call::on_void, held);
      },
      deadline);
}

Reply Client::sync(const std::string& path, Deadline deadline) {
  return run(
      [&](zhandle_t* handle, Call&, const void* held) {
        return zoo_async(handle, path.c_str(), Call::on_string, held);
      },
      deadline);
}

Reply Client::set_and_create(const Set& set, const std::string& path, ByteView data,
                             Deadline deadline) {
  return run(
      [&](zhandle_t* handle, Call& call, const void* held) {
        std::array<zoo_op_t, 2> ops{};
        zoo_set_op_init(&ops[0], set.path.c_str(), text_of(set.data),
                        static_cast<int>(set.data.size()), set.version, &call.stat);
        zoo_create_op_init(&ops[1], path.c_str(), text_of(data), static_cast<int>(data.size()),
                           connector_.acl(), 0, call.created.data(),
                           static_cast<int>(call.created.size()));
        return zoo_amulti(handle, static_cast<int>(ops.size()), ops.data(), call.results.data(),
                          Call::on_void, held);
      },
      deadline);
}

Error Client::error(std::string_view what, std::string_view path, const Reply& reply) const {
  std::string text("ZooKeeper: cannot ");
  text.append(what).append(" ").append(path).append(": ");
  if (reply.code == ZOPERATIONTIMEOUT)
    text += "no answer in time";
  else if (is_transient(reply.code))
    text += "no connection to " + options_.connection_string;
  else
    text += zerror(reply.code);
  if (reply.repeated) text += "; it may have been done";
  return Error(ErrorKind::unavailable, std::move(text));
}

// --- the session

// Events and answers come in one thread of the C client, in the order the server sent them.
void Client::on_event(zhandle_t*, int type, int state, const char* path, void* context) {
  Client& client = *static_cast<Client*>(context);
  if (type == ZOO_SESSION_EVENT) return client.session_event(state);
  for (const auto& observer : client.observers()) observer->changed(path == nullptr ? "" : path);
}

void Client::session_event(int state) {
  const std::lock_guard lock(mutex_);
  const bool now = state == ZOO_CONNECTED_STATE;
  if (now) {
    health_.good();
    silent_.store(false, std::memory_order_relaxed);
    logger_.log(LogLevel::info, "KMS0330",
                (ever_connected_ ? "connected again to " : "connected to ") + name());
    ever_connected_ = woken_ = true;
  } else if (connected_) {
    health_.set(HealthState::degraded, kNoConnection);
    absent_since_ = Clock::now();
    next_report_ = absent_since_ + kAbsenceLimit;
  }
  connected_ = now;
  if (state == ZOO_EXPIRED_SESSION_STATE || state == ZOO_AUTH_FAILED_STATE) {
    expired_ = true;
    logger_.log(state == ZOO_AUTH_FAILED_STATE ? LogLevel::error : LogLevel::warn,
                state == ZOO_AUTH_FAILED_STATE ? "KMS0332" : "KMS0331",
                state == ZOO_AUTH_FAILED_STATE
                    ? name() + " refused to authenticate this server"
                    : "the session with " + name() + " expired, a new one is opened");
  }
  changed_.notify_all();
}

bool Client::open_session() {
  auto opened = connector_.open(on_event, this);
  const std::lock_guard lock(mutex_);
  if (opened.ok()) {
    handle_ = *opened;
    return true;
  }
  if (Clock::now() >= next_report_) {
    next_report_ = Clock::now() + kReportAgain;
    logger_.log(LogLevel::error, "KMS0333", opened.error().message);
  }
  return false;
}

void Client::close_session() {
  zhandle_t* handle = nullptr;
  {
    const std::lock_guard lock(mutex_);
    std::swap(handle, handle_);
    connected_ = false;
    health_.set(HealthState::degraded, kNoConnection);
  }
  // Not under the lock: completions run until it returns.
  if (handle != nullptr) zookeeper_close(handle);
  const std::lock_guard lock(mutex_);
  expired_ = false;
}

void Client::report_absence() {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    const Deadline now = Clock::now();
    if (connected_ || now < next_report_) return;
    next_report_ = now + kReportAgain;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - absent_since_);
    text = "no connection to " + name() + " for " + std::to_string(seconds.count()) + " s";
  }
  logger_.log(LogLevel::warn, "KMS0334", text);
}

void Client::keep() noexcept {
  keeper_of = this;
  for (;;) {
    bool expired = false, open = false;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
      expired = expired_;
      open = handle_ != nullptr;
      woken_ = false;
    }
    if (expired) {
      close_session();
      for (const auto& observer : observers()) observer->session_lost();
      open = false;
      // One that is refused again and again is not to be a busy loop.
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, milliseconds(100), [&] { return stopping_; });
    }
    connector_.refresh();
    if (!open && !open_session()) {
      report_absence();
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kReopen, [&] { return stopping_; });
      continue;
    }
    Deadline next = Clock::now() + kReopen;
    for (const auto& observer : observers()) next = std::min(next, observer->work());
    report_absence();
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, next, [&] { return stopping_ || expired_ || woken_; });
  }
  close_session();
}

}  // namespace kms::zookeeper
