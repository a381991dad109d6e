// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "auth/tokens/file_token_store.h"
#include "auth/tokens/journal_file.h"
#include "auth/tokens/token_table.h"
#include "core/change_note.h"
#include "core/write_lock.h"

namespace kms::tokens {

// The journal of one process. What every process must know of it is one number, the generation in
// the lock file: 16 bits of the journal's epoch and 48 bits of the length that is committed. A
// look-up compares it with the one that table_ is good for; only when it moved is the file read on.
//
// A change is one record, appended and synced under lock_; then the number moves, and the change is
// answered. When most of the journal is of no use any more, it is written anew, renamed into its
// place and gets the next epoch; who had read all of the old one goes on behind the snapshot.
//
// Whoever holds lock_ puts right what he finds: whole records behind the committed length, of a
// writer that died or from before a reboot, count; what else is there is cut off or, if it looks
// like damage, kept beside. Order of locks: lock_, file_mutex_, table_mutex_.
class FileTokenStore final : public TokenStore {
 public:
  FileTokenStore(FileTokenStoreOptions options, Logger& logger);

  // In the parent: what is on the disk is put in order and loaded.
  Result<void> load();

  Result<void> attach() override;
  void poll() noexcept override;
  Health condition() const noexcept override;
  Result<MasterKeyPtr> current_key(std::int64_t now_ms, const KeyPolicy& policy) override;
  Result<MasterKeyPtr> key(std::int32_t id) override;
  Result<std::int32_t> next_sequence() override;
  Result<void> add(TokenRecord token) override;
  Result<TokenPtr> find(const TokenIdentifier& identifier) override;
  Result<bool> renew(const TokenIdentifier& identifier, std::int64_t renew_ms) override;
  Result<bool> remove(const TokenIdentifier& identifier) override;
  Result<std::size_t> purge(std::int64_t now_ms) override;

 private:
  // Operations (file_token_store.cpp). Look answers from the table. Decide says which records make
  // the change that is wanted; none: there is nothing to change.
  template <class Look>
  auto look_up(Look look) -> Result<decltype(look(std::declval<const TokenTable&>()))>;
  using Decide = std::function<Result<std::vector<Record>>(const TokenTable&)>;
  Result<void> commit(const Decide& decide);
  Result<void> append(std::vector<Record> records);
  Result<void> attach_now();
  bool needs_care();
  Error failed(const Error& error) noexcept;
  void succeeded() noexcept;

  // Which state is the current one (file_store_state.cpp). Each wants file_mutex_ to be held, those
  // with a turn want lock_, too.
  Result<void> catch_up();
  Result<bool> read_on(std::uint64_t generation);
  Result<bool> change_files(std::uint64_t generation);
  Result<void> settle(const WriteLock::Turn& turn);
  Result<void> settle_file(const WriteLock::Turn& turn);
  Result<void> settle_other(const WriteLock::Turn& turn, JournalFile there);
  Result<bool> follow(JournalFile& there);
  Result<void> settle_tail(const WriteLock::Turn& turn);
  Result<void> take_records(std::uint64_t to, JournalFile::End& end);
  void adopt(JournalFile file, std::uint64_t length, TokenTable table);
  void publish();

  // Writing the file anew (file_store_rewrite.cpp). As above.
  Result<void> rewrite(const WriteLock::Turn& turn, bool continues);
  Result<void> rescue(const WriteLock::Turn& turn, ByteView rest);
  Result<std::string> keep_beside();
  bool mostly_garbage() const;
  void compact(const WriteLock::Turn& turn);

  void log(LogLevel level, std::string_view id, std::string_view text) noexcept;

  const FileTokenStoreOptions options_;
  Logger& logger_;
  WriteLock lock_;
  // What was said already, and is said again only when it has been good meanwhile.
  std::atomic<bool> lock_lost_{false}, failing_{false}, no_compaction_{false};
  std::atomic<bool> attached_{false};
  HealthNote reading_;
  ChangeNote writing_;

  std::mutex file_mutex_;  // guards what follows
  std::optional<JournalFile> file_;
  std::uint64_t length_ = 0;        // of file_: what table_ has of it
  bool suspect_ = false;            // a sync of file_ failed: what the disk has of it is not known
  bool append_failed_ = false;      // the last one
  bool was_odd_ = false;            // in the last poll the file was not what was committed
  std::int64_t compact_at_ms_ = 0;  // not earlier, by the steady clock

  std::shared_mutex table_mutex_;  // guards what follows; changed with file_mutex_ held as well
  TokenTable table_;
  std::uint64_t seen_ = 0;  // generation that table_ is good for
};

}  // namespace kms::tokens
