// SPDX-License-Identifier: Apache-2.0
// Opening a store: its files are read, its database is looked at.
#include "keystore/postgres/trustee_store.h"

#include <algorithm>

#include "core/clock.h"
#include "keystore/postgres/store.h"
#include "seal/private_file.h"

namespace kms {
namespace postgres {
namespace {

Error bad_property(const char* name, const std::string& text) {
  return Error(ErrorKind::configuration, "hadoop.kms.trustee." + std::string(name) + " " + text);
}

// What is configured of one role, the first or the previous ones.
Result<std::vector<seal::KeySource>> sources_of(const std::string& key_file,
                                                const std::string& passphrase_file,
                                                const std::string& hsm_key) {
  using Kind = seal::KeySource::Kind;
  std::vector<seal::KeySource> sources;
  if (!key_file.empty()) {
    auto key = seal::read_key_file(key_file);
    if (!key.ok()) return std::move(key).error();
    sources.push_back({Kind::file, key_file, std::move(*key)});
  }
  if (!passphrase_file.empty()) {
    auto text = read_private_text(passphrase_file, "sealing passphrase file");
    if (!text.ok()) return std::move(text).error();
    sources.push_back({Kind::passphrase, passphrase_file, std::move(*text)});
  }
  if (!hsm_key.empty()) sources.push_back({Kind::hsm, hsm_key, Secret()});
  return sources;
}

Result<std::shared_ptr<seal::Keyring>> open_keyring(const TrusteeOptions& options) {
  auto sources =
      sources_of(options.seal_key_file, options.seal_passphrase_file, options.seal_hsm_key);
  if (!sources.ok()) return std::move(sources).error();
  if (sources->size() != 1)
    return bad_property("seal.key-file, .seal.passphrase-file or .seal.hsm.key",
                        sources->empty() ? "must name the sealing key"
                                         : "are set together; one of them names the sealing key");
  auto previous = sources_of(options.previous_key_file, options.previous_passphrase_file,
                             options.previous_hsm_key);
  if (!previous.ok()) return std::move(previous).error();
  std::move(previous->begin(), previous->end(), std::back_inserter(*sources));
  std::unique_ptr<seal::Hsm> hsm;
  if (options.is_sealed_by_hsm()) {
    pkcs11::HsmOptions token = options.hsm;
    token.timeout_ms = options.seal_timeout_ms(token.timeout_ms);
    auto opened = seal::Hsm::open(token, options.seal_hsm_profile, options.token);
    if (!opened.ok()) return std::move(opened).error();
    hsm = std::move(*opened);
  }
  return std::make_shared<seal::Keyring>(std::move(*sources), std::move(hsm));
}

bool on_this_host(const Host& host) {
  return host.name == "localhost" || host.name == "::1" || host.name.starts_with("127.");
}

}  // namespace

Result<StoreAccess> store_access(const std::string& uri, const TrusteeOptions& options) {
  StoreAccess access;
  access.uri = uri;
  access.options = options;
  auto where = parse_uri(uri);
  if (!where.ok()) return std::move(where).error();
  ServerOptions& server = access.server;
  server.where = std::move(*where);
  const auto& hosts = server.where.hosts;
  if (options.ssl_mode != "verify-full" && options.ssl_mode != "disable")
    return bad_property("ssl.mode", "value '" + options.ssl_mode +
                                        "' is unknown; allowed are verify-full, disable");
  if (options.ssl_mode == "disable" && !std::all_of(hosts.begin(), hosts.end(), on_this_host))
    return bad_property("ssl.mode", "is disable, which is for a database on this host only");
  if (options.ssl_mode == "verify-full" && options.ssl_root_cert.empty())
    return bad_property("ssl.root-cert", "must name the certificate of who signs the database's");
  server.ssl_mode = options.ssl_mode;
  server.ssl_root_cert = options.ssl_root_cert;
  server.ssl_cert = options.ssl_cert;
  server.ssl_key = options.ssl_key;
  server.timeout_ms = static_cast<int>(options.timeout_ms);
  if (!options.password_file.empty()) {
    auto password = read_private_text(options.password_file, "database password file");
    if (!password.ok()) return std::move(password).error();
    server.password = std::move(*password);
  }
  auto seal = open_keyring(options);
  if (!seal.ok()) return std::move(seal).error();
  access.seal = std::move(*seal);
  return access;
}

Result<std::unique_ptr<Connection>> connect_once(const StoreAccess& access) {
  std::string why;
  for (const Host& host : access.server.where.hosts) {
    auto opened = Connection::open(access.server, host, steady_ms() + access.server.timeout_ms);
    if (opened.ok()) return opened;
    why += (why.empty() ? "" : "; ") + host.name + ":" + host.port + ": " + opened.error().message;
  }
  return Error(ErrorKind::unavailable, access.uri + ": " + why);
}

namespace {

// Everything that must be right before a server may start, in one connection. Gives why commits
// are not safe; empty: they are.
Result<std::string> check_store(const StoreAccess& access, bool prove_keys) {
  auto connection = connect_once(access);
  if (!connection.ok()) return std::move(connection).error();
  const auto named = [&](const Error& error) {
    return Error(error.kind, access.uri + ": " + error.message);
  };
  if (auto good = check_schema(**connection); !good.ok()) return named(good.error());
  auto records = read_seal_records(**connection);
  if (!records.ok()) return named(records.error());
  if (auto keys = access.seal->open(*records); !keys.ok()) return named(keys.error());
  if (prove_keys)
    if (auto good = access.seal->prove(*records, access.options.user); !good.ok())
      return named(good.error());
  auto problem = commit_problem(**connection, access.options.require_standby);
  if (!problem.ok()) return named(problem.error());
  return problem->empty() ? std::string() : access.uri + ": " + *problem;
}

Result<TrusteeStatus> status_of(Connection& connection, const StoreAccess& access) {
  TrusteeStatus status;
  status.newest = kSchemaVersion;
  auto version = schema_version(connection);
  if (!version.ok()) return std::move(version).error();
  status.version = *version;
  auto server = connection.run("SELECT version()");
  if (!server.ok()) return std::move(server).error();
  status.server = server->text(0, 0);
  auto commits = commit_problem(connection, access.options.require_standby);
  if (!commits.ok() && commits.error().kind != ErrorKind::configuration)
    return std::move(commits).error();
  status.commits = commits.ok() ? *commits : commits.error().message;
  if (status.version == 0) return status;
  if (status.version < kSchemaVersion) {
    status.seal_id = "not looked at before 'kmsctl store upgrade'";
    return status;
  }
  auto key = open_sealing_key(connection, access.seal);
  status.sealed_by_ours = key.ok();
  status.seal_id = key.ok() ? (*key)->id() : key.error().message;
  auto counts = connection.run(
      "SELECT (SELECT COUNT(*) FROM kms_key WHERE deleted_ms IS NULL),"
      " (SELECT COUNT(*) FROM kms_key_version),"
      " (SELECT COUNT(*) FROM kms_key WHERE deleted_ms IS NOT NULL)");
  if (!counts.ok()) return std::move(counts).error();
  status.keys = counts->number(0, 0);
  status.versions = counts->number(0, 1);
  status.deleted = counts->number(0, 2);
  return status;
}

Result<void> upgrade(Connection& connection, const StoreAccess& access, bool initialize) {
  auto version = schema_version(connection);
  if (!version.ok()) return std::move(version).error();
  if ((*version == 0) != initialize)
    return Error(ErrorKind::configuration,
                 initialize ? "there is a key store already, of version " + std::to_string(*version)
                            : "there is no key store yet: run 'kmsctl store init'");
  seal::KeyRecord first;
  if (initialize) {
    auto made = access.seal->make_record(access.options.user);
    if (!made.ok()) return std::move(made).error();
    first = std::move(*made);
    first.current = true;
  }
  for (int at = *version; at < kSchemaVersion; ++at)
    KMS_TRY(in_transaction(connection, [&] { return migrate_schema(connection, at); }));
  if (!initialize) return {};
  return in_transaction(connection, [&] { return add_seal_record(connection, first); });
}

}  // namespace
}  // namespace postgres

Result<std::unique_ptr<KeyStore>> open_trustee_store(const std::string& uri,
                                                     const TrusteeOptions& options, Logger& logger,
                                                     bool check_only, VersionMaker maker) {
  auto access = postgres::store_access(uri, options);
  if (!access.ok()) return std::move(access).error();
  access->maker = std::move(maker);
  auto unsafe = postgres::check_store(*access, check_only);
  if (const std::string& why = unsafe.ok() ? *unsafe : unsafe.error().message; !why.empty()) {
    // Of a server that runs and reads its configuration anew a database that is away, or that lost
    // its standby, must not make one that ended. Its own checks go on.
    const bool may_pass = unsafe.ok() || unsafe.error().kind == ErrorKind::unavailable;
    if (check_only || !may_pass) return Error(ErrorKind::configuration, why);
    logger.log(LogLevel::warn, "KMS0130", why);
  }
  auto shared = postgres::SharedChanges::map();
  if (!shared.ok()) return std::move(shared).error();
  return std::unique_ptr<KeyStore>(std::make_unique<postgres::TrusteeStore>(
      std::move(*access), logger, std::move(*shared), check_only));
}

Result<TrusteeStatus> trustee_status(const std::string& uri, const TrusteeOptions& options) {
  auto access = postgres::store_access(uri, options);
  if (!access.ok()) return std::move(access).error();
  auto connection = postgres::connect_once(*access);
  if (!connection.ok()) return std::move(connection).error();
  return postgres::status_of(**connection, *access);
}

Result<TrusteeStatus> upgrade_trustee_store(const std::string& uri, const TrusteeOptions& options,
                                            bool initialize) {
  auto access = postgres::store_access(uri, options);
  if (!access.ok()) return std::move(access).error();
  access->server.timeout_ms = std::max(access->server.timeout_ms, 60000);
  auto connection = postgres::connect_once(*access);
  if (!connection.ok()) return std::move(connection).error();
  KMS_TRY(postgres::upgrade(**connection, *access, initialize));
  return postgres::status_of(**connection, *access);
}

}  // namespace kms
