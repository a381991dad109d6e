// SPDX-License-Identifier: Apache-2.0
#include "keystore/postgres/bulk.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/clock.h"
#include "crypto/base64.h"
#include "crypto/random.h"
#include "keystore/key_reference.h"
#include "keystore/postgres/statements.h"
#include "records/records.h"

namespace kms::postgres {
namespace {

constexpr int kPage = 500;                 // keys with one statement
constexpr std::int64_t kVersions = 10000;  // versions with one statement, but for one key's own
constexpr int kMostParameters = 30000;     // of one statement; the protocol has 65535
constexpr int kLongestMs = 60000;          // of one statement, where the configuration says less
constexpr int kMostTries = 10;             // of an insertion that other changes are in the way of
constexpr int kNapMs = 20;                 // before the next one, longer each time

std::string placeholders(std::size_t first, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "$" : ", $") + std::to_string(first + i);
  return out;
}

class Silent final : public Logger {
 public:
  void log(LogLevel, std::string_view, std::string_view) noexcept override {}
};

}  // namespace

Result<void> insert_rows(Connection& connection, const std::string& into, int columns,
                         std::size_t rows,
                         const std::function<void(std::size_t i, Params&)>& fill) {
  const auto width = static_cast<std::size_t>(columns);
  const std::size_t most = kMostParameters / width;
  for (std::size_t from = 0; from < rows; from += most) {
    const std::size_t count = std::min(most, rows - from);
    std::string sql = "INSERT INTO " + into + " VALUES ";
    Params params;
    for (std::size_t i = 0; i < count; ++i) {
      sql += (i == 0 ? "(" : ", (") + placeholders(i * width + 1, width) + ")";
      fill(from + i, params);
    }
    auto done = connection.run(sql.c_str(), params);
    if (!done.ok()) return std::move(done).error();
  }
  return {};
}

Result<BulkAccess> BulkAccess::open(const std::string& uri, const TrusteeOptions& options,
                                    bool to_write) {
  auto access = store_access(uri, options);
  if (!access.ok()) return std::move(access).error();
  const int timeout_ms = std::max(access->server.timeout_ms, kLongestMs);
  auto connection = connect_once(*access);
  if (!connection.ok()) return std::move(connection).error();
  (*connection)->set_deadline(steady_ms() + timeout_ms);
  const auto named = [&](const Error& error) {
    return Error(error.kind, uri + ": " + error.message);
  };
  if (auto good = check_schema(**connection); !good.ok()) return named(good.error());
  auto key = open_sealing_key(**connection, access->seal);
  if (!key.ok()) return named(key.error());
  if (to_write) {
    auto problem = commit_problem(**connection, options.require_standby);
    if (!problem.ok()) return named(problem.error());
    if (!problem->empty()) return named(Error(ErrorKind::configuration, *problem));
  }
  if (seal::Hsm* hsm = access->seal->hsm(); hsm != nullptr) {
    static Silent nobody;  // what is wrong with the token is said by the error
    hsm->start(nobody);
  }
  return BulkAccess(std::move(*connection), access->seal, std::move(*key), timeout_ms);
}

Result<Rows> BulkAccess::run(const std::string& sql, const Params& params) {
  connection_->set_deadline(steady_ms() + timeout_ms_);
  return connection_->run(sql.c_str(), params);
}

Result<void> BulkAccess::transaction(const char* begin, const Work& work) {
  if (auto begun = run(begin); !begun.ok()) return std::move(begun).error();
  auto done = work();
  if (done.ok()) {
    connection_->set_deadline(steady_ms() + timeout_ms_);
    done = connection_->commit();
  }
  conflict_ = !done.ok() && connection_->fault() == Fault::conflict;
  if (!done.ok() && connection_->fault() != Fault::lost) (void)run("ROLLBACK");
  return done;
}

Result<void> BulkAccess::in_snapshot(const Work& work) {
  return transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work);
}

Result<std::int64_t> BulkAccess::count() {
  auto rows = run("SELECT COUNT(*) FROM kms_key");
  if (!rows.ok()) return std::move(rows).error();
  return rows->number(0, 0);
}

Result<std::vector<KeyRecord>> BulkAccess::keys_after(std::string& last, const Damage& damage) {
  for (;;) {
    auto rows =
        run("SELECT " KMS_KEY_COLUMNS " FROM kms_key k WHERE k.name > $1 ORDER BY k.name LIMIT $2",
            Params().text(last).number(kPage));
    if (!rows.ok()) return std::move(rows).error();
    if (rows->size() == 0) return std::vector<KeyRecord>();
    last = rows->text(rows->size() - 1, 0);
    auto keys = opened(*rows, damage);
    if (!keys.ok() || !keys->empty()) return keys;
    // All of them are damaged.
  }
}

Result<std::vector<KeyRecord>> BulkAccess::keys_named(const std::vector<std::string>& names,
                                                      const Damage& damage) {
  if (names.empty()) return std::vector<KeyRecord>();
  Params params;
  for (const std::string& name : names) params.text(name);
  auto rows = run("SELECT " KMS_KEY_COLUMNS " FROM kms_key k WHERE k.name IN (" +
                      placeholders(1, names.size()) + ")",
                  params);
  if (!rows.ok()) return std::move(rows).error();
  return opened(*rows, damage);
}

// The keys whose rows are good, with those of their versions that are.
Result<std::vector<KeyRecord>> BulkAccess::opened(const Rows& rows, const Damage& damage) {
  std::vector<KeyRow> good;
  std::vector<KeyRecord> keys;
  for (int i = 0; i < rows.size(); ++i) {
    KeyRow row = key_row(rows, i);
    auto checked = vault_.check(row);
    auto metadata = checked.ok() ? metadata_of(row) : Result<MetadataPtr>(checked.error());
    if (!metadata.ok() && metadata.error().kind == ErrorKind::unavailable)
      return std::move(metadata).error();
    if (!metadata.ok()) {
      damage(row.name, metadata.error().message);
      continue;
    }
    keys.push_back(KeyRecord{**metadata, row.state, row.deleted_ms, {}});
    good.push_back(std::move(row));
  }
  KMS_TRY(open_versions(good, keys, damage));
  return keys;
}

Result<void> BulkAccess::open_versions(const std::vector<KeyRow>& rows,
                                       std::vector<KeyRecord>& keys, const Damage& damage) {
  for (std::size_t from = 0; from < rows.size();) {
    std::size_t to = from;
    std::unordered_map<std::string, std::size_t> index;
    Params params;
    for (std::int64_t versions = 0;
         to < rows.size() && (to == from || versions + rows[to].versions <= kVersions); ++to) {
      versions += rows[to].versions;
      index[rows[to].name] = to;
      params.text(rows[to].name);
    }
    auto found =
        run("SELECT v.version, v.created_ms, v.sealed, v.wrapped_key, v.seal_id, v.name FROM"
            " kms_key_version v WHERE v.name IN (" +
                placeholders(1, to - from) + ") ORDER BY v.name, v.version",
            params);
    if (!found.ok()) return std::move(found).error();
    for (int i = 0; i < found->size(); ++i) {
      const std::size_t at = index[found->text(i, 5)];
      const VersionRow stored = version_row(*found, i, 0);
      if (stored.version < 0 || stored.version >= rows[at].versions) continue;
      auto material = vault_.open_version(rows[at], stored);
      if (!material.ok() && material.error().kind == ErrorKind::unavailable)
        return std::move(material).error();
      if (material.ok())
        keys[at].versions.push_back({stored.version, stored.created_ms, std::move(*material)});
      else
        damage(version_name(rows[at].name, stored.version), material.error().message);
    }
    from = to;
  }
  return {};
}

Result<BulkAccess::StoredKey> BulkAccess::sealed(const KeyRecord& key) const {
  const KeyMetadata& metadata = key.metadata;
  Bytes random(16);
  KMS_TRY(fill_public(random));
  StoredKey made;
  KeyRow& row = made.row;
  row.name = metadata.name;
  row.incarnation = base64url_encode(random);
  row.cipher = metadata.cipher;
  row.bit_length = metadata.bit_length;
  row.details = details_of(metadata.description, metadata.attributes);
  row.created_ms = metadata.created_ms;
  row.versions = metadata.versions;
  row.state = key.state;
  if (auto known = state_of(row); !known.ok()) return std::move(known).error();
  row.deleted_ms = key.deleted_ms;
  row.revision = 1;
  KMS_TRY(vault_.seal(row));
  for (const KeyRecord::Version& version : key.versions) {
    auto one = vault_.seal_version(row, version.number, version.created_ms, version.material);
    if (!one.ok()) return std::move(one).error();
    made.versions.push_back(std::move(*one));
  }
  return made;
}

// What failed by a conflict, or by a sealing key without trust, has written nothing.
Result<void> BulkAccess::insert(const std::vector<const KeyRecord*>& keys) {
  if (keys.empty()) return {};
  for (int tries = 1;; ++tries) {
    const std::string seal_id = vault_.seal_id();
    auto done = insert_once(keys);
    const bool another = conflict_ || vault_.seal_id() != seal_id;
    if (done.ok() || !another || tries == kMostTries) return done;
    if (conflict_) std::this_thread::sleep_for(std::chrono::milliseconds(kNapMs * tries));
  }
}

Result<void> BulkAccess::insert_once(const std::vector<const KeyRecord*>& keys) {
  conflict_ = false;
  std::vector<StoredKey> rows;
  std::vector<std::pair<const std::string*, const VersionRow*>> versions;
  for (const KeyRecord* key : keys) {
    auto one = sealed(*key);
    if (!one.ok()) return std::move(one).error();
    rows.push_back(std::move(*one));
  }
  for (const StoredKey& key : rows)
    for (const VersionRow& version : key.versions) versions.emplace_back(&key.row.name, &version);
  return transaction("BEGIN", [&]() -> Result<void> {
    connection_->set_deadline(steady_ms() + timeout_ms_);
    auto done = insert_rows(*connection_, KMS_KEY_INSERT, kKeyInsertColumns, rows.size(),
                            [&](std::size_t i, Params& to) { add_key_row(to, rows[i].row); });
    if (!done.ok() && connection_->fault() == Fault::exists)
      return Error(ErrorKind::io, "a key of one of the names appeared meanwhile");
    KMS_TRY(done);
    KMS_TRY(insert_rows(*connection_, KMS_VERSION_INSERT, kVersionInsertColumns, versions.size(),
                        [&](std::size_t i, Params& to) {
                          add_version_row(to, *versions[i].first, *versions[i].second);
                        }));
    KMS_TRY(forget_notes(keys));
    return note_changes(rows);
  });
}

// A key that comes back needs its objects again, which a deletion may have left to be destroyed.
Result<void> BulkAccess::forget_notes(const std::vector<const KeyRecord*>& keys) {
  for (const KeyRecord* key : keys) {
    for (const KeyRecord::Version& version : key->versions) {
      const ByteView content = version.material.view();
      if (!is_reference(content, key->metadata.bit_length)) continue;
      auto reference = parse_reference(content);
      if (!reference.ok()) return std::move(reference).error();
      auto gone = run("DELETE FROM kms_record WHERE kind = $1 AND number = $2",
                      Params().text(kHsmPending).number(note_number(reference->id)));
      if (!gone.ok()) return std::move(gone).error();
    }
  }
  return {};
}

// As TrusteeStore::Write does for one: numbers of a shard in a row, and their lines.
Result<void> BulkAccess::note_changes(const std::vector<StoredKey>& keys) {
  Bytes random(17);
  KMS_TRY(fill_public(random));
  const std::int64_t shard = random[16] % kShards;
  const std::string operation = base64url_encode(ByteView(random).first(16));
  const auto count = static_cast<std::int64_t>(keys.size());
  auto rows = run("UPDATE kms_change SET counter = counter + $2 WHERE shard = $1 RETURNING counter",
                  Params().number(shard).number(count));
  if (!rows.ok()) return std::move(rows).error();
  if (rows->size() != 1) return Error(ErrorKind::corrupt, "kms_change does not have its rows");
  // As there: whoever takes the trust away waits for us, or we see it.
  auto trusted =
      run("SELECT seal_id FROM kms_seal WHERE seal_id = $1", Params().text(vault_.seal_id()));
  if (!trusted.ok()) return std::move(trusted).error();
  if (trusted->size() != 1) {
    Error error(ErrorKind::unavailable,
                "the store does not trust the sealing key " + vault_.seal_id() + " any more");
    auto now = open_sealing_key(*connection_, keyring_);
    if (now.ok()) vault_ = Vault(std::move(*now));
    return error;
  }
  const std::int64_t first = rows->number(0, 0) - count + 1;
  KMS_TRY(insert_rows(*connection_, "kms_change_log (shard, counter, name, operation)", 4,
                      keys.size(), [&](std::size_t i, Params& to) {
                        to.number(shard).number(first + static_cast<std::int64_t>(i));
                        to.text(keys[i].row.name).text(operation);
                      }));
  auto trimmed = run("DELETE FROM kms_change_log WHERE shard = $1 AND counter <= $2",
                     Params().number(shard).number(first + count - 1 - kKeptChanges));
  if (!trimmed.ok()) return std::move(trimmed).error();
  return {};
}

}  // namespace kms::postgres
