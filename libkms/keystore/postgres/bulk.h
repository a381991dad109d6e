// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "keystore/key_record.h"
#include "keystore/postgres/store.h"

namespace kms::postgres {

// Whole keys, many with one statement, for tools. One object for one thread.
class BulkAccess {
 public:
  // Errors (configuration, unavailable): the store or its sealing key is not as it must be; with
  // to_write also when commits are not safe.
  static Result<BulkAccess> open(const std::string& uri, const TrusteeOptions& options,
                                 bool to_write);

  // Work that sees one state of the store, and only reads.
  using Work = std::function<Result<void>()>;
  Result<void> in_snapshot(const Work& work);

  // Within in_snapshot. What cannot be opened: a key or a version, with the reason.
  using Damage = std::function<void(const std::string& name, const std::string& why)>;
  // The next keys by name after one, deleted ones included; none: there are no more.
  Result<std::vector<KeyRecord>> keys_after(std::string& last, const Damage& damage);
  // Those of these keys that are there, in no order; the names of damaged ones are in damaged too.
  Result<std::vector<KeyRecord>> keys_named(const std::vector<std::string>& names,
                                            const Damage& damage);
  Result<std::int64_t> count();  // of keys, deleted ones included

  // New keys, all or none, in one transaction; running nodes notice them. Tries again after a
  // conflict with other changes, and when the sealing key has lost its trust meanwhile.
  // ErrorKind::io when one of the names is taken; unavailable when another try may succeed, even
  // though the keys may be there.
  Result<void> insert(const std::vector<const KeyRecord*>& keys);

 private:
  struct StoredKey {
    KeyRow row;
    std::vector<VersionRow> versions;
  };
  BulkAccess(std::unique_ptr<Connection> connection, std::shared_ptr<seal::Keyring> keyring,
             std::shared_ptr<const seal::KeySet> keys, int timeout_ms)
      : connection_(std::move(connection)),
        keyring_(std::move(keyring)),
        vault_(std::move(keys)),
        timeout_ms_(timeout_ms) {}
  Result<Rows> run(const std::string& sql, const Params& params = {});
  Result<void> transaction(const char* begin, const Work& work);
  Result<std::vector<KeyRecord>> opened(const Rows& keys, const Damage& damage);
  Result<void> open_versions(const std::vector<KeyRow>& rows, std::vector<KeyRecord>& keys,
                             const Damage& damage);
  Result<StoredKey> sealed(const KeyRecord& key) const;
  Result<void> insert_once(const std::vector<const KeyRecord*>& keys);
  Result<void> forget_notes(const std::vector<const KeyRecord*>& keys);
  Result<void> note_changes(const std::vector<StoredKey>& keys);

  std::unique_ptr<Connection> connection_;
  std::shared_ptr<seal::Keyring> keyring_;
  Vault vault_;
  int timeout_ms_;
  bool conflict_ = false;  // the last transaction met other changes
};

}  // namespace kms::postgres
