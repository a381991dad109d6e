// SPDX-License-Identifier: Apache-2.0
// The data keys of all rows by another sealing key, while servers go on.
#include <chrono>
#include <thread>

#include "core/clock.h"
#include "keystore/postgres/seal_walk.h"

namespace kms::postgres {
namespace {

// By then every server has heard of the new key: it looks for changes once a second.
constexpr std::int64_t kHeardMs = 2000;
constexpr int kMostPasses = 5;

class Rewrap {
 public:
  Rewrap(SealTool& tool, const SealStep& step) : tool_(tool), step_(step) {}

  Result<SealWork> run() {
    KMS_TRY(commits_are_safe());
    KMS_TRY(make_current());
    const std::int64_t heard = steady_ms() + kHeardMs;
    for (int i = 0; i < kMostPasses; ++i) {
      KMS_TRY(pass());
      const std::int64_t wait = heard - steady_ms();
      if (switched_ && wait > 0) std::this_thread::sleep_for(std::chrono::milliseconds(wait));
      KMS_TRY(count_left());
      if (work_.left <= work_.failed && (i > 0 || !switched_)) break;
    }
    return work_;
  }

 private:
  // Should a failover forget what was rewrapped after the old key was taken away, it would be lost.
  Result<void> commits_are_safe() {
    return tool_.read([&](Connection& connection) -> Result<void> {
      auto problem = commit_problem(connection, tool_.access().options.require_standby);
      if (!problem.ok()) return std::move(problem).error();
      if (problem->empty()) return {};
      return Error(ErrorKind::configuration, *problem);
    });
  }

  Result<void> make_current() {
    auto wanted = tool_.access().seal->wanted(tool_.records());
    if (!wanted.ok()) return std::move(wanted).error();
    work_.id = *wanted;
    if (tool_.keys().id() == work_.id) return {};
    KMS_TRY(tool_.transaction([&](Connection& c) { return make_seal_current(c, work_.id); }));
    switched_ = true;
    return tool_.reopen();
  }

  Result<void> pass() {
    vault_ = std::make_unique<Vault>(tool_.shared_keys());
    work_.failed = 0;
    work_.problems.clear();
    auto total = tool_.count(work_.id);
    if (!total.ok()) return std::move(total).error();
    total_ = *total;
    KMS_TRY(tool_.each_key(work_.id, [&](std::vector<KeyRow>& rows) { return keys(rows); }));
    KMS_TRY(tool_.each_version(
        work_.id, [&](std::vector<SealTool::Version>& rows) { return versions(rows); }));
    return tool_.each_record(work_.id, [&](std::vector<RecordRow>& rows) { return records(rows); });
  }

  // Whether the row was opened; what is damaged is left as it is.
  Result<bool> opened(const Result<void>& done) {
    step_(total_);
    if (done.ok()) return true;
    const Error error = const_cast<Result<void>&>(done).error();
    if (error.kind == ErrorKind::unavailable) return error;
    ++work_.failed;
    if (work_.problems.size() < 100) work_.problems.push_back(error.message);
    return false;
  }

  // update gets a row as it was and as it is to be. The old wrapping is part of its condition: a
  // row that somebody changed meanwhile is for the next pass. No tag binds the wrapping.
  template <class Row>
  Result<void> rewrap(
      const std::vector<Row>& rows, const std::function<Result<void>(Row&)>& wrap,
      const std::function<Result<Rows>(Connection&, const Row&, const Row&)>& update) {
    std::vector<std::pair<const Row*, Row>> changed;
    for (const Row& row : rows) {
      Row next = row;
      auto good = opened(wrap(next));
      if (!good.ok()) return std::move(good).error();
      if (*good) changed.emplace_back(&row, std::move(next));
    }
    std::int64_t done = 0;
    KMS_TRY(tool_.transaction([&](Connection& connection) -> Result<void> {
      done = 0;
      for (const auto& [before, after] : changed) {
        auto updated = update(connection, *before, after);
        if (!updated.ok()) return std::move(updated).error();
        done += updated->changed();
      }
      return {};
    }));
    work_.rows += done;
    return {};
  }

  Result<void> keys(const std::vector<KeyRow>& rows) {
    return rewrap<KeyRow>(
        rows, [&](KeyRow& row) { return vault_->rewrap(row); },
        [](Connection& connection, const KeyRow& before, const KeyRow& after) {
          return connection.run(
              "UPDATE kms_key SET wrapped_key = $1, seal_id = $2 WHERE name = $3"
              " AND incarnation = $4 AND wrapped_key = $5",
              Params()
                  .bytes(after.wrapped_key)
                  .text(after.seal_id)
                  .text(after.name)
                  .text(after.incarnation)
                  .bytes(before.wrapped_key));
        });
  }

  Result<void> versions(const std::vector<SealTool::Version>& rows) {
    using Row = SealTool::Version;
    return rewrap<Row>(
        rows, [&](Row& row) { return vault_->rewrap_version(row.key, row.version); },
        [](Connection& connection, const Row& before, const Row& after) {
          return connection.run(
              "UPDATE kms_key_version SET wrapped_key = $1, seal_id = $2 WHERE name = $3"
              " AND version = $4 AND wrapped_key = $5",
              Params()
                  .bytes(after.version.wrapped_key)
                  .text(after.version.seal_id)
                  .text(after.key.name)
                  .number(after.version.version)
                  .bytes(before.version.wrapped_key));
        });
  }

  Result<void> records(const std::vector<RecordRow>& rows) {
    return rewrap<RecordRow>(
        rows, [&](RecordRow& row) { return vault_->rewrap_record(row); },
        [](Connection& connection, const RecordRow& before, const RecordRow& after) {
          return connection.run(
              "UPDATE kms_record SET wrapped_key = $1, seal_id = $2 WHERE kind = $3"
              " AND number = $4 AND wrapped_key = $5",
              Params()
                  .bytes(after.wrapped_key)
                  .text(after.seal_id)
                  .text(after.kind)
                  .number(after.number)
                  .bytes(before.wrapped_key));
        });
  }

  Result<void> count_left() {
    auto left = tool_.count(work_.id);
    if (!left.ok()) return std::move(left).error();
    work_.left = *left;
    return {};
  }

  SealTool& tool_;
  const SealStep& step_;
  SealWork work_;
  std::unique_ptr<Vault> vault_;
  std::int64_t total_ = 0;
  bool switched_ = false;
};

}  // namespace
}  // namespace kms::postgres

namespace kms {

Result<SealWork> rewrap_seals(const std::string& uri, const TrusteeOptions& options, Logger& logger,
                              const SealStep& step) {
  auto tool = postgres::SealTool::open(uri, options, logger);
  if (!tool.ok()) return std::move(tool).error();
  return postgres::Rewrap(**tool, step).run();
}

}  // namespace kms
