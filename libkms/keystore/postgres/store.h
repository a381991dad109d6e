// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "keystore/postgres/cache.h"
#include "keystore/postgres/pool.h"
#include "keystore/postgres/rows.h"
#include "keystore/postgres/schema.h"
#include "keystore/postgres/seal_record.h"
#include "keystore/postgres/shared_changes.h"
#include "keystore/postgres/trustee_store.h"

namespace kms::postgres {

// What opening a store needs beside its URI, with the contents of the files.
struct StoreAccess {
  std::string uri;
  ServerOptions server;
  std::shared_ptr<seal::Keyring> seal;
  TrusteeOptions options;
  VersionMaker maker;  // empty: every version has its material here
};
Result<StoreAccess> store_access(const std::string& uri, const TrusteeOptions& options);
// One connection for a tool or a check, without the look at the schema.
Result<std::unique_ptr<Connection>> connect_once(const StoreAccess& access);

// The store of one process. Reads are served from memory while others' changes were looked for
// within the last second; a thread of its own does that. Writers go to the database at once.
class TrusteeStore final : public KeyStore {
 public:
  TrusteeStore(StoreAccess access, Logger& logger, std::unique_ptr<SharedChanges> shared,
               bool check_only);
  ~TrusteeStore() override;

  Health condition() const noexcept override;
  const std::string& uri() const override { return access_.uri; }
  Result<void> attach() override;
  void detach() noexcept override;
  void poll() noexcept override {}
  Result<std::vector<std::string>> names() override;
  Result<MetadataPtr> metadata(std::string_view name) override;
  Result<VersionPtr> version(std::string_view version_name) override;
  Result<VersionPtr> current_version(std::string_view name) override;
  Result<std::vector<VersionPtr>> versions(std::string_view name) override;
  Result<VersionPtr> create(std::string_view name, const KeyOptions& options,
                            const Secret* material, const Approval& approval) override;
  Result<VersionPtr> roll(std::string_view name, const Secret* material,
                          const Approval& approval) override;
  Result<void> remove(std::string_view name, const Approval& approval) override;
  Result<std::vector<DeletedKey>> deleted_keys() override;
  Result<std::optional<DeletedKey>> deleted_key(std::string_view name) override;
  Result<void> undelete(std::string_view name, const Approval& approval) override;
  Result<void> purge(std::string_view name, const Approval& approval) override;
  bool keeps_states() const noexcept override { return true; }
  Result<void> set_state(std::string_view name, KeyState state, const Approval& approval) override;
  Result<void> invalidate(std::string_view name) override;
  Result<void> import_key(const KeyMetadata& metadata,
                          std::span<const VersionPtr> versions) override;
  Records* records() noexcept override;

 private:
  class Write;        // one change of one key or record
  class RecordTable;  // what is no key

  // What is in memory, and for how long (store_sync.cpp).
  bool current() const;
  Result<void> sync();
  void absorb();
  void drop(std::uint64_t hash);
  void drop_all();
  bool may_be_stale() const noexcept;
  Result<void> look(std::unique_lock<std::mutex>& looking);
  Result<void> look_for_changes(Connection& connection);
  void run() noexcept;
  Error away(const std::string& why) const;

  // Look-ups (store_read.cpp).
  Result<const CachedKey*> find(std::string_view name);
  Result<CachedKeyPtr> load(std::string_view name, std::uint64_t hash);
  Result<CachedKeyPtr> open_rows(const Rows& rows, std::string_view name,
                                 const CachedKeyPtr& known);
  const Error& damaged(const Error& error) const;  // says so
  // The list of names (store_names.cpp).
  Result<KeyCache::Names> read_names(Connection& connection);
  Result<std::optional<KeyCache::Names>> names_since(Connection& connection,
                                                     const KeyCache::Names& known);
  Result<VersionPtr> version_of(const CachedKey& key, std::int32_t number) const;

  // Changes (write.cpp, store_write.cpp, store_delete.cpp).
  Result<KeyRow> checked_row(const Rows& rows);  // the first of them, if its seal is good
  // Seals a changed row anew and puts it in the place of what it was.
  Result<void> update_row(Connection& connection, KeyRow& row);
  Result<KeyRow> new_row(std::string name, const KeyOptions& options, std::int64_t created_ms,
                         std::int32_t versions) const;
  // Seals a new key with what is to be its versions. fresh: of a version that is made now.
  using Contents = std::vector<std::pair<std::int32_t, const Secret*>>;
  Result<void> insert(const KeyRow& unsealed, const Contents& contents, const VersionPtr& fresh,
                      const Approval& approval);

  Result<void> hide(std::string_view asked, std::optional<std::int64_t> deleted_ms,
                    const Approval& approval);
  Result<DeletedKey> deleted_of(const KeyRow& row);

  // Versions whose keys are in a token (store_reference.cpp).
  Result<VersionPtr> version_for(const KeyRow& row, std::int32_t number, Secret content) const;
  Result<void> check_content(std::int32_t bits, const Secret& content) const;
  Result<void> take_note(Connection& connection, const KeyRow& row, std::int32_t number,
                         const Secret& content) const;
  Result<void> leave_notes(Connection& connection, const KeyRow& row, Write& write);
  Result<void> check_all_here(std::string_view name);

  // Sealing keys (store_seal.cpp).
  Result<void> open_vault(Connection& connection);
  // Before rows are opened: a key that came to be trusted since the last look is opened.
  void know_seals(Connection& connection, const Rows& rows, std::initializer_list<int> columns);
  bool hsm_serves() const noexcept;
  Result<void> seal_in_reach() const;

  Result<void> prepare(Connection& connection);
  Result<void> know_server(Connection& connection);
  Deadline deadline() const;
  std::shared_ptr<const Vault> vault();
  void log(LogLevel level, std::string_view id, std::string_view text) const noexcept {
    logger_.log(level, id, access_.uri + ": " + std::string(text));
  }

  const StoreAccess access_;
  Logger& logger_;
  const bool check_only_;
  const std::unique_ptr<SharedChanges> shared_;
  KeyCache cache_;
  Pool pool_, watch_;  // for the requests; for the look for changes

  const std::unique_ptr<RecordTable> records_;

  std::mutex vault_mutex_;  // guards what follows, and the keyring
  std::shared_ptr<const Vault> vault_;
  std::int64_t seals_read_ms_ = 0;
  std::string seals_said_;  // what is wrong with them, as it was logged

  std::atomic<bool> replicates_{false};  // the database does so by itself

  // The hot path reads these. Times are of steady_ms().
  std::atomic<std::uint64_t> absorbed_{0};    // changes of shared_ that cache_ knows of
  std::atomic<std::int64_t> serve_until_{0};  // without another look for changes
  std::atomic<std::int64_t> last_look_{0};    // begin of the last one that succeeded; 0: none
  std::atomic<bool> away_{false};             // the last one failed
  std::atomic<std::int64_t> hsm_seen_{0};     // the token of the sealing keys served; 0: never
  HealthNote health_;

  std::mutex absorb_mutex_;
  std::mutex look_mutex_;           // guards what follows
  std::vector<std::int64_t> seen_;  // counters by shard; empty: none of this server
  std::string server_;              // since when it runs, which no other one does
  std::string why_away_;

  std::mutex thread_mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace kms::postgres
