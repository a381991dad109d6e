// SPDX-License-Identifier: Apache-2.0
#include "zookeeper/connection.h"

#include <openssl/crypto.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "zookeeper/kerberos_login.h"

namespace kms::zookeeper {
namespace {

// The C client's log callback has no context, so there is one logger for the process: the newest.
std::atomic<Logger*> log_target{nullptr};

void on_log(const char* message) {
  Logger* logger = log_target.load();
  if (logger == nullptr || message == nullptr) return;
  std::string_view text(message);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  logger->log(LogLevel::debug, "KMS0335", text);
}

void route_log(Logger& logger) {
  log_target.store(&logger);
  // Lines of no handle would go to stderr.
  static FILE* const nowhere = std::fopen("/dev/null", "we");
  if (nowhere != nullptr) zoo_set_log_stream(nowhere);
  zoo_set_debug_level(ZOO_LOG_LEVEL_INFO);
}

}  // namespace

#ifdef HAVE_ZOOKEEPER_SASL
// How the C client authenticates itself: GSSAPI of Cyrus SASL with tickets of a keytab.
struct Connector::Login {
  explicit Login(const ZooKeeperOptions& options) : kerberos(options.principal, options.keytab) {
    std::string_view server(options.server_principal);
    server = server.substr(0, server.find('@'));
    service = server.substr(0, server.find('/'));
    if (const std::size_t slash = server.find('/'); slash != std::string_view::npos)
      host = server.substr(slash + 1);
    if (service.empty()) service = "zookeeper";
    // The name as it was given, where there is one server. Otherwise the library takes the address,
    // for which Kerberos has to find the name.
    const std::string_view servers =
        std::string_view(options.connection_string).substr(0, options.connection_string.find('/'));
    if ((host.empty() || host == "_HOST") && servers.find(',') == std::string_view::npos)
      host = servers.substr(0, servers.rfind(':'));
    if (host == "_HOST") host.clear();
  }

  // Called in the C client's thread before its first step, which is the time to say what tickets
  // that thread is to use: the choice belongs to a thread, and the environment to all of httpd.
  static int on_user(void* context, int, const char** result, unsigned* length) {
    static_cast<Login*>(context)->kerberos.use();
    *result = "";
    if (length != nullptr) *length = 0;
    return SASL_OK;
  }

  Result<void> prepare() {
    static const int ready = sasl_client_init(nullptr);
    if (ready != SASL_OK)
      return Error(ErrorKind::unavailable, "ZooKeeper: Cyrus SASL cannot be set up");
    bool gssapi = false;
    for (const char** name = sasl_global_listmech(); name != nullptr && *name != nullptr; ++name)
      gssapi = gssapi || std::string_view(*name) == "GSSAPI";
    if (!gssapi)
      return Error(
          ErrorKind::unavailable,
          "ZooKeeper: Cyrus SASL has no GSSAPI mechanism here (libsasl2-modules-gssapi-mit,"
          " cyrus-sasl-gssapi)");
    return kerberos.renew();
  }

  KerberosLogin kerberos;
  std::string service, host;
  sasl_callback_t callbacks[2] = {
      {SASL_CB_USER, reinterpret_cast<int (*)()>(reinterpret_cast<void*>(on_user)), this},
      {SASL_CB_LIST_END, nullptr, nullptr}};
};
#else
struct Connector::Login {};
#endif

namespace {

#ifdef HAVE_ZOOKEEPER_SSL
// The C client reads PEM files, and takes their names in one text with commas.
Result<void> check_store(const std::string& property, const std::string& file) {
  const auto mistake = [&](const char* what) {
    return Error(ErrorKind::configuration, property + ": '" + file + "' " + what);
  };
  if (file.empty()) return Error(ErrorKind::configuration, property + " is not set, TLS needs it");
  if (file.find(',') != std::string::npos) return mistake("has a comma in its name");
  std::ifstream in(file, std::ios::binary);
  std::string head(64 * 1024, '\0');
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (in.gcount() == 0) return mistake("cannot be read, or is empty");
  if (head.find("-----BEGIN ") == std::string::npos)
    return mistake(
        "is no PEM file, the only kind that the C client of ZooKeeper reads; a Java keystore is "
        "converted with keytool -importkeystore -deststoretype PKCS12 and openssl pkcs12 -nodes");
  return {};
}
#endif

}  // namespace

Result<void> check_options(const ZooKeeperOptions& options, const PropertyNames& names) {
#ifndef HAVE_ZOOKEEPER_SASL
  if (options.sasl)
    return Error(ErrorKind::configuration,
                 names.auth_type +
                     " is sasl, but the ZooKeeper client library of this build was made without "
                     "SASL (libzookeeper_mt has no zookeeper_init_sasl)");
#endif
  if (!options.ssl) return {};
#ifndef HAVE_ZOOKEEPER_SSL
  return Error(ErrorKind::configuration,
               names.ssl_enabled +
                   " is true, but the ZooKeeper client library of this build was made without TLS "
                   "(libzookeeper_mt has no zookeeper_init_ssl)");
#else
  if (options.sasl)
    return Error(ErrorKind::configuration,
                 names.ssl_enabled + " is true and " + names.auth_type +
                     " is sasl: the C client of ZooKeeper does one of the two only");
  if (options.keystore_password.find(',') != std::string::npos)
    return Error(ErrorKind::configuration,
                 names.keystore + ": its password must not have a comma in it");
  KMS_TRY(check_store(names.truststore, options.truststore));
  return check_store(names.keystore, options.keystore);
#endif
}

Connector::Connector(const ZooKeeperOptions& options, Logger& logger)
    : options_(options), logger_(logger) {
  scheme_ = options.sasl ? "sasl" : "world";
  owner_ =
      options.sasl ? options.principal.substr(0, options.principal.find_first_of("/@")) : "anyone";
  entry_.perms = ZOO_PERM_ALL;
  entry_.id.scheme = scheme_.data();
  entry_.id.id = owner_.data();
  acl_.count = 1;
  acl_.data = &entry_;
#ifdef HAVE_ZOOKEEPER_SASL
  if (options.sasl) login_ = std::make_unique<Login>(options);
#endif
}

Connector::~Connector() {
  // Its handles are closed; whoever else has one has set the logger too.
  Logger* mine = &logger_;
  log_target.compare_exchange_strong(mine, nullptr);
}

Result<zhandle_t*> Connector::open(watcher_fn watcher, void* context) {
  route_log(logger_);
  const char* servers = options_.connection_string.c_str();
  const int timeout = static_cast<int>(options_.session_timeout_ms);
  zhandle_t* handle = nullptr;
  if (login_ != nullptr) {
#ifdef HAVE_ZOOKEEPER_SASL
    KMS_TRY(login_->prepare());
    zoo_sasl_params_t sasl{};
    sasl.service = login_->service.c_str();
    sasl.host = login_->host.empty() ? nullptr : login_->host.c_str();
    sasl.mechlist = "GSSAPI";
    sasl.callbacks = login_->callbacks;
    handle = zookeeper_init_sasl(servers, watcher, timeout, nullptr, context, 0, on_log, &sasl);
#endif
  } else if (options_.ssl) {
#ifdef HAVE_ZOOKEEPER_SSL
    if (!warned_)
      logger_.log(LogLevel::warn, "KMS0336",
                  "TLS to ZooKeeper: its C client takes any certificate that the truststore or the "
                  "system's certificate authorities vouch for, whatever server it names");
    warned_ = true;
    // Private key and certificates are in one file, as in a Java keystore.
    std::string files = options_.truststore + "," + options_.keystore + "," + options_.keystore;
    if (!options_.keystore_password.empty()) files += "," + options_.keystore_password;
    handle = zookeeper_init_ssl(servers, files.c_str(), watcher, timeout, nullptr, context, 0);
    OPENSSL_cleanse(files.data(), files.size());
#endif
  } else {
    handle = zookeeper_init2(servers, watcher, timeout, nullptr, context, 0, on_log);
  }
  if (handle == nullptr)
    return Error(ErrorKind::unavailable, "ZooKeeper: cannot use '" + options_.connection_string +
                                             "': " + std::generic_category().message(errno));
  return handle;
}

void Connector::refresh() {
#ifdef HAVE_ZOOKEEPER_SASL
  // A failure shows when a session is opened; the tickets there are may still be good.
  if (login_ != nullptr) static_cast<void>(login_->kerberos.renew());
#endif
}

}  // namespace kms::zookeeper
