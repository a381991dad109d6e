// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "keystore/postgres/store.h"

namespace kms::postgres {

// One change of one key: a transaction, its place in the order of changes, the caller's approval
// just before the commit, and the news to the other processes after it.
class TrusteeStore::Write {
 public:
  Write(TrusteeStore& store, std::string name, const Approval& approval)
      : store_(store), name_(std::move(name)), approval_(approval) {}

  // Seals and changes the rows; may run more than once. When the store trusts the key no longer
  // that it sealed by, it runs again with the one that the store names now. Gives the version that
  // it makes; null: none.
  using Body = std::function<Result<VersionPtr>(Connection&)>;
  Result<void> run(const Body& body);
  // The same with the row of the key, which stays locked until the end; no rows: there is no key.
  using RowBody = std::function<Result<VersionPtr>(Connection&, const Rows&)>;
  Result<void> run_on_row(const RowBody& body);
  // The sealing key of what body writes.
  void sealed_by(std::string id) { seal_id_ = std::move(id); }

 private:
  Result<void> attempt(Deadline deadline, const Body& body);
  Result<void> take_number(Connection& connection);
  Result<void> approve(const VersionPtr& fresh);
  Result<bool> was_carried_out(Connection& connection);
  void trim_log();

  TrusteeStore& store_;
  const std::string name_;
  const Approval& approval_;
  std::string operation_;  // random; tells this change from all others
  std::int64_t shard_ = 0, counter_ = 0;
  std::string seal_id_;
  bool seal_changed_ = false;  // the last attempt sealed by a key that was taken away meanwhile
  std::optional<std::string> approved_;  // name of the version, once the caller has agreed
};

// Rows of run_on_row(): a key that is hidden; one that is not.
bool is_deleted(const Rows& rows);
bool is_there(const Rows& rows);
// The name as it is stored.
std::string folded(std::string_view asked);

}  // namespace kms::postgres
