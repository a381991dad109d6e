// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/postgres/options.h"

struct pg_conn;
struct pg_result;

namespace kms::postgres {

using Deadline = std::int64_t;  // of steady_ms()

// How to reach the database.
struct ServerOptions {
  StoreUri where;
  Secret password;
  std::string ssl_mode, ssl_root_cert, ssl_cert, ssl_key;
  int timeout_ms = 5000;
};

// What a failed statement means for what to do next.
enum class Fault {
  none,
  conflict,  // with another transaction; the whole transaction may be tried again
  lost,      // the connection, or the server's ability to write; anew on another connection
  exists,    // a unique name is taken
  no_table,  // the schema is not there
  failed,    // for good
};

// Parameters of a statement, in order. Texts must outlive the statement; bytes are copied.
class Params {
 public:
  Params& text(std::string_view value);
  Params& number(std::int64_t value) { return text(std::to_string(value)); }
  Params& bytes(ByteView value);
  Params& null();

 private:
  friend class Connection;
  struct One {
    std::string value;
    bool is_null = false, binary = false;
  };
  std::vector<One> all_;
};

// The rows that a statement gave, or how many it changed.
class Rows {
 public:
  explicit Rows(pg_result* result) : result_(result) {}
  int size() const;
  std::int64_t changed() const;
  std::string tag() const;  // what the server did: "COMMIT"
  bool is_null(int row, int column) const;
  std::string text(int row, int column) const;
  std::int64_t number(int row, int column) const;  // 0 where it is none
  Bytes bytes(int row, int column) const;

 private:
  struct Clear {
    void operator()(pg_result* r) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

// One connection, for one thread at a time. Every wait ends at the deadline; a connection that met
// its deadline is lost, as what the server made of the statement is not known.
class Connection {
 public:
  // To a server that accepts changes. Looking its name up is done by the resolver and may take
  // longer than the deadline.
  static Result<std::unique_ptr<Connection>> open(const ServerOptions& options, const Host& host,
                                                  Deadline deadline);

  void set_deadline(Deadline deadline) { deadline_ = deadline; }
  // sql has $1, $2... for params. On an error fault() says what kind it is.
  Result<Rows> run(const char* sql, const Params& params = {});
  // COMMIT. Its error has fault() lost when it may have been carried out all the same.
  Result<void> commit();

  Fault fault() const { return fault_; }
  bool usable() const;  // as far as is known without asking

 private:
  struct Finish {
    void operator()(pg_conn* c) const;
  };
  explicit Connection(pg_conn* conn) : conn_(conn) {}
  Result<void> connect();
  Result<void> send(const char* sql, const Params& params);
  bool wait(bool to_write);
  Error lost(const std::string& why);
  Error failure(const pg_result* result);
  static void take_notice(void* self, const pg_result* result);

  std::unique_ptr<pg_conn, Finish> conn_;
  Deadline deadline_ = 0;
  Fault fault_ = Fault::none;
  bool broken_ = false;
  bool warned_ = false;  // by the server, in this statement
};

// A transaction around work, once.
Result<void> in_transaction(Connection& connection, const std::function<Result<void>()>& work);

}  // namespace kms::postgres
