// SPDX-License-Identifier: Apache-2.0
// What there is of sealing keys, which of them a store trusts, and whether they are good.
#include "keystore/postgres/trustee_seal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/clock.h"
#include "core/file_io.h"
#include "crypto/random.h"
#include "keystore/postgres/seal_walk.h"
#include "seal/aead.h"

namespace kms {
namespace postgres {
namespace {

constexpr std::size_t kMostProblems = 100;

void note(SealWork& work, const std::string& problem) {
  ++work.failed;
  if (work.problems.size() < kMostProblems) work.problems.push_back(problem);
}

// What a server with this configuration would say of the record.
Result<SealReport> report_on(Connection& connection, seal::Keyring& keyring) {
  KMS_TRY(check_schema(connection));
  auto records = read_seal_records(connection);
  if (!records.ok()) return std::move(records).error();
  auto counts = count_sealed_rows(connection);
  if (!counts.ok()) return std::move(counts).error();
  auto ids = keyring.ids_of_sources(*records);
  if (!ids.ok()) return std::move(ids).error();
  SealReport report;
  for (std::size_t i = 0; i < ids->size(); ++i) {
    const seal::KeySource& source = keyring.sources()[i];
    report.sources.push_back({seal::kind_word(source.kind), source.name, (*ids)[i], i > 0});
  }
  for (const seal::KeyRecord& record : *records) {
    SealReport::Key key{record.id, record.kind, {}, record.created_ms, 0, record.current, false};
    if (record.kind == "hsm") key.label = seal::Hsm::label_of(record.parameters);
    key.configured = std::find(ids->begin(), ids->end(), record.id) != ids->end();
    for (const SealedRows& each : *counts)
      if (each.id == record.id) key.rows = each.rows;
    if (!key.configured && key.rows > 0)
      report.problems.push_back(std::to_string(key.rows) + " rows are sealed by " + key.id +
                                ", which is not configured here");
    report.keys.push_back(std::move(key));
  }
  if (auto keys = keyring.open(*records); !keys.ok())
    report.problems.push_back(keys.error().message);
  for (const SealedRows& each : *counts)
    if (std::none_of(records->begin(), records->end(),
                     [&](const seal::KeyRecord& record) { return record.id == each.id; }))
      report.problems.push_back(std::to_string(each.rows) + " rows are sealed by " + each.id +
                                ", which the store does not trust");
  return report;
}

using Change = std::function<Result<void>(Connection&, StoreAccess&)>;

// The report after a change of the record; null: nothing is changed.
Result<SealReport> change_record(const std::string& uri, const TrusteeOptions& options,
                                 const Change& change) {
  auto access = store_access(uri, options);
  if (!access.ok()) return std::move(access).error();
  auto connection = connect_once(*access);
  if (!connection.ok()) return std::move(connection).error();
  if (change) {
    KMS_TRY(check_schema(**connection));
    KMS_TRY(change(**connection, *access));
  }
  return report_on(**connection, *access->seal);
}

Result<SealSetup> make_key_file(const std::string& path) {
  if (auto there = stat_file(path); there.ok() && there->exists) {
    auto read = seal::read_key_file(path);
    if (!read.ok()) return std::move(read).error();
    return SealSetup{false, path};
  }
  Secret key(seal::kAeadKeySize);
  KMS_TRY(fill_private({key.data(), key.size()}));
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return io_error("make", path, errno);
  if (::write(file.get(), key.data(), key.size()) != static_cast<ssize_t>(key.size()) ||
      ::fsync(file.get()) != 0) {
    const int why = errno;
    ::unlink(path.c_str());
    return io_error("write", path, why);
  }
  return SealSetup{true, path};
}

void check_keys(SealTool& tool, SealWork& work) {
  for (const seal::KeyRecord& record : tool.records()) {
    seal::SealingKey* key = tool.keys().find(record.id);
    if (key == nullptr) continue;
    Secret data_key(seal::kAeadKeySize);
    if (auto random = fill_private({data_key.data(), data_key.size()}); !random.ok())
      return note(work, random.error().message);
    auto wrapped = key->wrap(data_key, as_bytes(record.id));
    if (!wrapped.ok()) {
      note(work, record.id + ": " + wrapped.error().message);
      continue;
    }
    auto back = key->unwrap(*wrapped, as_bytes(record.id));
    if (!back.ok() || !back->equals(data_key.view()))
      note(work,
           record.id + ": " + (back.ok() ? "it opens to something else" : back.error().message));
  }
}

// Damage is noted; a token or a database out of reach ends the work.
template <class T>
Result<void> noted(SealWork& work, const Result<T>& opened) {
  ++work.rows;
  if (opened.ok()) return {};
  const Error error = const_cast<Result<T>&>(opened).error();
  if (error.kind == ErrorKind::unavailable) return error;
  note(work, error.message);
  return {};
}

Result<SealWork> validate(SealTool& tool, const SealStep& step) {
  SealWork work;
  check_keys(tool, work);
  if (work.failed > 0) return work;
  auto total = tool.count({});
  if (!total.ok()) return std::move(total).error();
  const Vault vault(tool.shared_keys());
  KMS_TRY(tool.each_key({}, [&](std::vector<KeyRow>& rows) -> Result<void> {
    for (const KeyRow& row : rows) {
      KMS_TRY(noted(work, vault.check(row)));
      step(*total);
    }
    return {};
  }));
  KMS_TRY(tool.each_version({}, [&](std::vector<SealTool::Version>& rows) -> Result<void> {
    for (const SealTool::Version& row : rows) {
      KMS_TRY(noted(work, vault.open_version(row.key, row.version)));
      step(*total);
    }
    return {};
  }));
  KMS_TRY(tool.each_record({}, [&](std::vector<RecordRow>& rows) -> Result<void> {
    for (const RecordRow& row : rows) {
      KMS_TRY(noted(work, vault.open_record(row)));
      step(*total);
    }
    return {};
  }));
  return work;
}

}  // namespace
}  // namespace postgres

Result<SealReport> seal_settings(const std::string& uri, const TrusteeOptions& options) {
  return postgres::change_record(uri, options, {});
}

Result<SealSetup> seal_setup(const TrusteeOptions& options) {
  if (!options.seal_hsm_key.empty()) {
    auto hsm = seal::Hsm::open(options.hsm, options.seal_hsm_profile);
    if (!hsm.ok()) return std::move(hsm).error();
    SealSetup setup;
    auto key = (*hsm)->make(options.seal_hsm_key, options.user, setup.made);
    if (!key.ok()) return std::move(key).error();
    setup.what = key->id;
    return setup;
  }
  if (!options.seal_key_file.empty()) return postgres::make_key_file(options.seal_key_file);
  return Error(ErrorKind::configuration,
               "neither hadoop.kms.trustee.seal.hsm.key nor .seal.key-file is set; a passphrase is "
               "for you to write");
}

Result<SealReport> trust_sealing_key(const std::string& uri, const TrusteeOptions& options) {
  return postgres::change_record(
      uri, options,
      [](postgres::Connection& connection, postgres::StoreAccess& access) -> Result<void> {
        auto records = postgres::read_seal_records(connection);
        if (!records.ok()) return std::move(records).error();
        auto known = access.seal->wanted(*records);
        if (!known.ok()) return std::move(known).error();
        if (!known->empty()) return {};
        auto record = access.seal->make_record(access.options.user);
        if (!record.ok()) return std::move(record).error();
        return postgres::in_transaction(
            connection, [&] { return postgres::add_seal_record(connection, *record); });
      });
}

Result<SealReport> distrust_sealing_key(const std::string& uri, const TrusteeOptions& options,
                                        const std::string& id) {
  return postgres::change_record(
      uri, options, [&](postgres::Connection& connection, postgres::StoreAccess&) {
        return postgres::in_transaction(
            connection, [&] { return postgres::remove_seal_record(connection, id); });
      });
}

Result<SealWork> validate_seals(const std::string& uri, const TrusteeOptions& options,
                                Logger& logger, const SealStep& step) {
  auto tool = postgres::SealTool::open(uri, options, logger);
  if (!tool.ok()) return std::move(tool).error();
  return postgres::validate(**tool, step);
}

}  // namespace kms
