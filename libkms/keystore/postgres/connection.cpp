// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "core/clock.h"

namespace kms::postgres {
namespace {

// libpq would else look below the home of whoever started the server, which its children may not
// enter.
const char* or_no_file(const std::string& path) {
  return path.empty() ? "/dev/null/none" : path.c_str();
}

// One line, and without the end of line that libpq's texts have.
std::string one_line(const char* text) {
  std::string out(text != nullptr ? text : "");
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

// Appendix A of PostgreSQL's documentation; CockroachDB and YugabyteDB use the same codes.
Fault fault_of(std::string_view state) {
  constexpr std::string_view kConflicts[] = {"40001", "40P01", "55P03"};
  // Shut down, crashed, starting; no more connections; a primary that is none any more; not known
  // whether it was carried out.
  constexpr std::string_view kLost[] = {"57P01", "57P02", "57P03", "57P05",
                                        "53300", "25006", "40003"};
  if (std::find(std::begin(kConflicts), std::end(kConflicts), state) != std::end(kConflicts))
    return Fault::conflict;
  if (state.starts_with("08") || state.empty() ||
      std::find(std::begin(kLost), std::end(kLost), state) != std::end(kLost))
    return Fault::lost;
  if (state == "23505") return Fault::exists;
  if (state == "42P01") return Fault::no_table;
  return Fault::failed;
}

}  // namespace

Params& Params::text(std::string_view value) {
  all_.push_back({std::string(value), false, false});
  return *this;
}

Params& Params::bytes(ByteView value) {
  all_.push_back({std::string(as_text(value)), false, true});
  return *this;
}

Params& Params::null() {
  all_.push_back({{}, true, false});
  return *this;
}

void Rows::Clear::operator()(pg_result* r) const {
  PQclear(r);
}
int Rows::size() const {
  return PQntuples(result_.get());
}
std::int64_t Rows::changed() const {
  return std::atoll(PQcmdTuples(result_.get()));
}
std::string Rows::tag() const {
  return PQcmdStatus(result_.get());
}
bool Rows::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}
std::string Rows::text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}
std::int64_t Rows::number(int row, int column) const {
  return std::atoll(PQgetvalue(result_.get(), row, column));
}
Bytes Rows::bytes(int row, int column) const {
  std::size_t size = 0;
  const std::unique_ptr<unsigned char, decltype(&PQfreemem)> out(
      PQunescapeBytea(
          reinterpret_cast<const unsigned char*>(PQgetvalue(result_.get(), row, column)), &size),
      &PQfreemem);
  return out != nullptr ? Bytes(out.get(), out.get() + size) : Bytes();
}

void Connection::Finish::operator()(pg_conn* c) const {
  PQfinish(c);
}

Result<std::unique_ptr<Connection>> Connection::open(const ServerOptions& options, const Host& host,
                                                     Deadline deadline) {
  // libpq keeps a copy of the password for as long as the connection lives.
  Secret password(options.password.size() + 1);
  std::copy(options.password.view().begin(), options.password.view().end(), password.data());
  const std::string user_timeout = std::to_string(options.timeout_ms);
  const std::array<std::pair<const char*, const char*>, 18> settings = {{
      {"host", host.name.c_str()},
      {"port", host.port.c_str()},
      {"user", options.where.user.c_str()},
      {"dbname", options.where.database.c_str()},
      {"password",
       options.password.empty() ? nullptr : reinterpret_cast<const char*>(password.data())},
      {"sslmode", options.ssl_mode.c_str()},
      {"sslrootcert", or_no_file(options.ssl_root_cert)},
      {"sslcert", or_no_file(options.ssl_cert)},
      {"sslkey", or_no_file(options.ssl_key)},
      {"passfile", or_no_file({})},
      {"gssencmode", "disable"},
      {"target_session_attrs", "read-write"},
      {"application_name", "mod_kms"},
      {"client_encoding", "UTF8"},
      {"keepalives", "1"},
      {"keepalives_idle", "10"},
      {"keepalives_interval", "5"},
      {"tcp_user_timeout", user_timeout.c_str()},
  }};
  std::array<const char*, settings.size() + 1> names{}, values{};
  for (std::size_t i = 0; i < settings.size(); ++i) {
    names[i] = settings[i].first;
    values[i] = settings[i].second;
  }
  std::unique_ptr<Connection> made(
      new Connection(PQconnectStartParams(names.data(), values.data(), 0)));
  made->deadline_ = deadline;
  KMS_TRY(made->connect());
  return made;
}

Result<void> Connection::connect() {
  if (conn_ == nullptr) return lost("no memory");
  PQsetNoticeReceiver(conn_.get(), &Connection::take_notice, this);
  if (PQstatus(conn_.get()) == CONNECTION_BAD) return lost(PQerrorMessage(conn_.get()));
  PostgresPollingStatusType next = PGRES_POLLING_WRITING;
  while (next != PGRES_POLLING_OK) {
    if (!wait(next == PGRES_POLLING_WRITING)) return lost("no connection in time");
    next = PQconnectPoll(conn_.get());
    if (next == PGRES_POLLING_FAILED) return lost(PQerrorMessage(conn_.get()));
  }
  if (PQsetnonblocking(conn_.get(), 1) != 0) return lost(PQerrorMessage(conn_.get()));
  return {};
}

bool Connection::usable() const {
  return !broken_ && PQstatus(conn_.get()) == CONNECTION_OK &&
         PQtransactionStatus(conn_.get()) == PQTRANS_IDLE;
}

void Connection::take_notice(void* self, const pg_result* result) {
  const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity != nullptr && std::string_view(severity) == "WARNING")
    static_cast<Connection*>(self)->warned_ = true;
}

Error Connection::lost(const std::string& why) {
  broken_ = true;
  fault_ = Fault::lost;
  return Error(ErrorKind::unavailable, "The database is out of reach: " + one_line(why.c_str()));
}

Error Connection::failure(const pg_result* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  fault_ = fault_of(state != nullptr ? state : "");
  const char* text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  std::string message = one_line(text != nullptr ? text : PQerrorMessage(conn_.get()));
  if (state != nullptr && std::string_view(state) == "42501")
    message += "; the user of the URI must own the database's tables, or the database itself";
  if (fault_ == Fault::lost) return lost(message);
  return Error(fault_ == Fault::conflict ? ErrorKind::unavailable : ErrorKind::io,
               "The database refuses: " + message + (state != nullptr ? " (" : "") +
                   (state != nullptr ? state : "") + (state != nullptr ? ")" : ""));
}

// Until the socket is ready or the deadline is there.
bool Connection::wait(bool to_write) {
  for (;;) {
    const std::int64_t left = deadline_ - steady_ms();
    if (left <= 0) return false;
    pollfd fd{PQsocket(conn_.get()), static_cast<short>(to_write ? POLLOUT | POLLIN : POLLIN), 0};
    if (fd.fd < 0) return false;
    const int ready = ::poll(&fd, 1, static_cast<int>(std::min<std::int64_t>(left, INT_MAX)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Result<void> Connection::send(const char* sql, const Params& params) {
  std::vector<const char*> values;
  std::vector<int> lengths, formats;
  for (const Params::One& one : params.all_) {
    values.push_back(one.is_null ? nullptr : one.value.c_str());
    lengths.push_back(static_cast<int>(one.value.size()));
    formats.push_back(one.binary ? 1 : 0);
  }
  if (PQsendQueryParams(conn_.get(), sql, static_cast<int>(values.size()), nullptr, values.data(),
                        lengths.data(), formats.data(), 0) != 1)
    return lost(PQerrorMessage(conn_.get()));
  for (;;) {
    const int left = PQflush(conn_.get());
    if (left == 0) return {};
    if (left < 0) return lost(PQerrorMessage(conn_.get()));
    if (!wait(true)) return lost("no answer in time");
    if (PQconsumeInput(conn_.get()) != 1) return lost(PQerrorMessage(conn_.get()));
  }
}

Result<Rows> Connection::run(const char* sql, const Params& params) {
  fault_ = Fault::none;
  warned_ = false;
  if (broken_) return lost("the connection broke");
  KMS_TRY(send(sql, params));
  std::optional<Rows> rows;
  std::optional<Error> error;
  for (;;) {
    while (PQisBusy(conn_.get()) != 0) {
      if (!wait(false)) return lost("no answer in time");
      if (PQconsumeInput(conn_.get()) != 1) return lost(PQerrorMessage(conn_.get()));
    }
    pg_result* result = PQgetResult(conn_.get());
    if (result == nullptr) break;
    Rows taken(result);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
      rows.emplace(std::move(taken));
    else if (!error)
      error.emplace(failure(result));
    if (broken_) break;
  }
  if (error) return std::move(*error);
  if (PQstatus(conn_.get()) != CONNECTION_OK || !rows) return lost(PQerrorMessage(conn_.get()));
  return std::move(*rows);
}

// A server that gives up waiting for its standby says so by a warning only.
Result<void> Connection::commit() {
  auto done = run("COMMIT");
  if (!done.ok()) return std::move(done).error();
  if (done->tag() != "COMMIT") return lost("a commit became a " + done->tag());
  if (warned_) return lost("a commit was not acknowledged by the standby");
  return {};
}

Result<void> in_transaction(Connection& connection, const std::function<Result<void>()>& work) {
  if (auto begun = connection.run("BEGIN"); !begun.ok()) return std::move(begun).error();
  if (auto done = work(); !done.ok()) {
    (void)connection.run("ROLLBACK");
    return done;
  }
  return connection.commit();
}

}  // namespace kms::postgres
