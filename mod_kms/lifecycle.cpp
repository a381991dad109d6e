// SPDX-License-Identifier: Apache-2.0
#include "lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <http_main.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <unixd.h>

#include <fstream>
#include <iterator>
#include <set>

#include "audit/chain.h"
#include "audit_program.h"
#include "gssapi_check.h"
#include "guard.h"
#include "kms_config.h"
#include "maintenance.h"
#include "process_memory.h"

namespace kms {
namespace {

constexpr std::size_t kSecureHeapBytes = std::size_t{4} << 20;

// Who will serve: the configured user where the parent is root, else the parent's own.
struct ServingUser {
  uid_t uid = static_cast<uid_t>(-1), gid = static_cast<gid_t>(-1);
  std::string name, home;
};

ServingUser serving_user() {
  ServingUser user;
  const bool root = geteuid() == 0;
  const uid_t uid = root ? ap_unixd_config.user_id : geteuid();
  if (root) {
    user.uid = ap_unixd_config.user_id;
    user.gid = ap_unixd_config.group_id;
  }
  if (const passwd* entry = getpwuid(uid); entry != nullptr) {
    user.name = entry->pw_name;
    user.home = entry->pw_dir;
  } else {
    user.name = std::to_string(uid);
    user.home = "/";
  }
  return user;
}

struct Passwords {
  Secret environment;
  bool has_environment = false;
};

InstanceOptions options_for(const ServerConfig& config, const ServingUser& user,
                            const Passwords& passwords) {
  InstanceOptions options;
  options.settings.conf_dir = config.conf_dir;
  options.settings.overrides = config.overrides;
  options.settings.system_properties = {{"user.home", user.home}, {"user.name", user.name}};
  if (config.rate_limits)
    options.settings.overrides.push_back(
        {"hadoop.kms.rate-limits", config.rate_limits->text(), config.rate_limits->origin});
  if (config.decrypt_alarms)
    options.settings.overrides.push_back({"hadoop.kms.decrypt-alarms",
                                          config.decrypt_alarms->text(),
                                          config.decrypt_alarms->origin});
  options.password = config.keystore_password.get();
  options.password_file = config.keystore_password_file;
  if (passwords.has_environment) options.environment_password = &passwords.environment;
  if (config.jceks_iterations) options.jceks_iterations = *config.jceks_iterations;
  if (config.lock_timeout_ms) options.lock_timeout_ms = *config.lock_timeout_ms;
  options.uid = user.uid;
  options.gid = user.gid;
  options.user_name = user.name;
  options.token_file = config.token_file;
  if (config.audit_log) options.audit.target = *config.audit_log;
  options.audit.format = config.audit_format.value_or(AuditFormat::java);
  options.audit.durability = config.audit_durability.value_or(AuditDurability::write);
  options.audit.chain = config.audit_chain.value_or(false);
  options.audit.chain_key_file = config.audit_chain_key_file;
  options.audit_aggregate = config.audit_aggregate.value_or(false);
  return options;
}

void report(server_rec* server, const std::vector<std::string>& problems) {
  for (const std::string& problem : problems)
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "KMS0001: %s", problem.c_str());
}

// Whether this server needs an Instance of its own.
bool has_own_kms(const server_rec* server, const server_rec* main_server) {
  const ServerConfig& config = server_config(server);
  if (server == main_server) return config.own_directives && !config.conf_dir.empty();
  return config.own_directives;
}

void warn_about_slashes(server_rec* server) {
  const auto* core =
      static_cast<core_dir_config*>(ap_get_core_module_config(server->lookup_defaults));
  if (core->allow_encoded_slashes && !core->decode_encoded_slashes) return;
  ap_log_error(
      APLOG_MARK, APLOG_WARNING, 0, server,
      "KMS0504: 'AllowEncodedSlashes NoDecode' is missing in the server %s: keys with '/' in "
      "their names cannot be reached",
      server->server_hostname != nullptr ? server->server_hostname : "of this KMS");
}

// From these levels on httpd's own traces have whole requests and answers in them.
void warn_about_traces(server_rec* server) {
  struct Trace {
    const char *module, *name;
    int level;
  };
  constexpr Trace kTelling[] = {{"http_core.c", "http", APLOG_TRACE4},
                                {"core.c", "core", APLOG_TRACE5},
                                {"mod_ssl.c", "ssl", APLOG_TRACE7},
                                {"mod_dumpio.c", "dumpio", APLOG_TRACE7}};
  for (const Trace& trace : kTelling) {
    const module* known = ap_find_linked_module(trace.module);
    if (known == nullptr ||
        ap_get_server_module_loglevel(server, known->module_index) < trace.level)
      continue;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server,
                 "KMS0512: LogLevel %s:trace%d and beyond writes cookies, tokens or keys into the "
                 "error log",
                 trace.name, trace.level - APLOG_DEBUG);
  }
}

std::vector<std::string> missing_directives(const ServerConfig& config) {
  std::vector<std::string> problems;
  if (config.conf_dir.empty())
    problems.push_back("KMSEngine is On, but KMSConfDir is not set in this server");
  if (!config.audit_log)
    problems.push_back("KMSAuditLog is not set: without an audit log no key is served");
  return problems;
}

// full: also read and try everything. Otherwise post_config, which comes next, does.
int check_server(server_rec* server, const server_rec* main_server, const ServingUser& user,
                 const Passwords& passwords, bool full) {
  const ServerConfig& config = server_config(server);
  if (config.engine_used) warn_about_slashes(server);
  const bool own_kms = has_own_kms(server, main_server);
  if (!own_kms && !config.engine_used) return OK;
  std::vector<std::string> problems = missing_directives(config);
  if (problems.empty() && own_kms && full) {
    warn_about_traces(server);
    if (config.keystore_password != nullptr) {
      ap_log_error(
          APLOG_MARK, APLOG_WARNING, 0, server,
          "KMS0505: KMSKeystorePassword has the password in the httpd configuration, where "
          "others may read it; KMSKeystorePasswordFile is better");
    }
    // What is in force is said once, by post_config.
    HttpdLogger logger(server, LogLevel::warn);
    InstanceOptions options = options_for(config, user, passwords);
    options.check_only = true;
    Instance::open(options, logger, problems);
  }
  report(server, problems);
  return problems.empty() ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

// What only httpd can give: the program of a piped log, and memory that outlives a restart.
bool prepare_audit(apr_pool_t* pconf, server_rec* server, AuditConfig& audit) {
  if (audit.target.kind == AuditTarget::Kind::pipe) {
    audit.pipe_fd = start_audit_program(pconf, server, audit.target.where);
    if (audit.pipe_fd < 0) return false;
  }
  if (audit.chain) {
    audit.chain_carried = static_cast<char*>(
        shared_region(server, "chain:" + audit.target.name, AuditChain::kCarriedBytes));
  }
  return true;
}

int open_server(apr_pool_t* pconf, server_rec* server, const ServingUser& user,
                const Passwords& passwords) {
  ServerConfig& config = server_config(server);
  InstanceOptions options = options_for(config, user, passwords);
  if (!prepare_audit(pconf, server, options.audit)) return HTTP_INTERNAL_SERVER_ERROR;
  options.signer_region = shared_region(server, "signer:" + config.conf_dir, kSharedSignerBytes);
  options.shared_region = [&](const std::string& name, std::size_t bytes) {
    return shared_region(server, name + ":" + config.conf_dir, bytes);
  };
  if (options.signer_region == nullptr) {
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, server,
                 "KMS0506: no shared memory for the cookie secret");
    return HTTP_INTERNAL_SERVER_ERROR;
  }
  // Another version of this module may have another layout; it begins at zero.
  options.metrics_region = shared_region(
      server, "metrics" + std::to_string(Metrics::region_bytes()) + ":" + config.conf_dir,
      Metrics::region_bytes());
  if (options.metrics_region == nullptr) {
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, server, "KMS0610: no shared memory for the metrics");
    return HTTP_INTERNAL_SERVER_ERROR;
  }
  auto* logger = own(pconf, new HttpdLogger(server));
  std::vector<std::string> problems;
  auto instance = Instance::open(options, *logger, problems);
  report(server, problems);
  if (instance == nullptr) return HTTP_INTERNAL_SERVER_ERROR;
  config.instance = own(pconf, instance.release());
  ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, server, "KMS0507: KMS of %s serves %s",
               config.conf_dir.c_str(), config.instance->settings().key_provider_uri.c_str());
  return OK;
}

Passwords find_passwords(server_rec* main_server) {
  Passwords passwords;
  passwords.has_environment = environment_password(main_server, passwords.environment);
  return passwords;
}

// With which type the KMS of a server answers, before there is an Instance.
std::optional<hadoop::AuthenticationType> configured_type(const server_rec* server,
                                                          const server_rec* main_server,
                                                          const ServingUser& user) {
  if (!has_own_kms(server, main_server)) server = main_server;
  const ServerConfig& config = server_config(server);
  if (config.conf_dir.empty()) return {};
  hadoop::SettingsErrors errors;
  const auto settings =
      hadoop::load_settings(options_for(config, user, Passwords()).settings, errors);
  if (!errors.lines.empty()) return {};  // which check_server has told
  return settings.authentication;
}

bool gssapi_is_good(server_rec* main_server, const ServingUser& user, const TypeOfServer& type_of) {
  HttpdLogger logger(main_server);
  return check_gssapi(main_server, type_of, {user.name, user.uid, user.gid}, logger);
}

// "httpd -k stop" runs the same hooks as a start. A server must be stoppable whatever has become of
// its files, as a keystore is restored while it is stopped. httpd takes the -k out of the arguments
// that it shows to modules.
bool told_to_stop() {
  std::ifstream file("/proc/self/cmdline");
  const std::string words{std::istreambuf_iterator<char>(file), {}};
  using namespace std::string_view_literals;
  for (const std::string_view word :
       {"\0-k\0stop\0"sv, "\0-kstop\0"sv, "\0-k\0graceful-stop\0"sv, "\0-kgraceful-stop\0"sv})
    if (words.find(word) != std::string::npos) return true;
  return false;
}

}  // namespace

int pre_config(apr_pool_t*, apr_pool_t*, apr_pool_t*) {
  server_rec* main_server = ap_server_conf;
  return guarded(main_server, HTTP_INTERNAL_SERVER_ERROR, [&] {
    HttpdLogger logger(main_server);
    return check_gssapi_loaded(main_server, logger) ? OK : HTTP_INTERNAL_SERVER_ERROR;
  });
}

int check_config(apr_pool_t*, apr_pool_t*, apr_pool_t*, server_rec* main_server) {
  return guarded(main_server, HTTP_INTERNAL_SERVER_ERROR, [&] {
    if (told_to_stop()) return OK;
    const ServingUser user = serving_user();
    const Passwords passwords = find_passwords(main_server);
    // configtest, and the first of the two passes of a start; a restart has the second only.
    const bool full = ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
    int result = OK;
    for (server_rec* server = main_server; server != nullptr; server = server->next)
      if (check_server(server, main_server, user, passwords, full) != OK)
        result = HTTP_INTERNAL_SERVER_ERROR;
    const auto type_of = [&](const server_rec* server) {
      return configured_type(server, main_server, user);
    };
    if (full && !gssapi_is_good(main_server, user, type_of)) result = HTTP_INTERNAL_SERVER_ERROR;
    return result;
  });
}

int post_config(apr_pool_t* pconf, apr_pool_t*, apr_pool_t*, server_rec* main_server) {
  // The first of httpd's two passes only proves that the configuration loads; check_config has done
  // that.
  if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) return OK;
  return guarded(main_server, HTTP_INTERNAL_SERVER_ERROR, [&] {
    const ServingUser user = serving_user();
    const Passwords passwords = find_passwords(main_server);
    read_certificates(main_server);
    for (server_rec* server = main_server; server != nullptr; server = server->next) {
      if (has_own_kms(server, main_server)) {
        if (open_server(pconf, server, user, passwords) != OK) return HTTP_INTERNAL_SERVER_ERROR;
      } else if (server != main_server) {
        server_config(server).instance = server_config(main_server).instance;
      }
    }
    const auto type_of = [](const server_rec* server) {
      const Instance* instance = server_config(server).instance;
      return instance != nullptr ? std::optional(instance->settings().authentication)
                                 : std::nullopt;
    };
    return gssapi_is_good(main_server, user, type_of) ? OK : HTTP_INTERNAL_SERVER_ERROR;
  });
}

void child_init(apr_pool_t* pchild, server_rec* main_server) {
  guarded(main_server, 0, [&] {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // Keys must not end in a core file. LeakSanitizer needs a dumpable process.
    prctl(PR_SET_DUMPABLE, 0);
#endif
    std::set<Instance*> instances;
    for (server_rec* server = main_server; server != nullptr; server = server->next)
      if (Instance* instance = server_config(server).instance; instance != nullptr)
        instances.insert(instance);
    if (instances.empty()) return 0;
    init_secure_heap(kSecureHeapBytes);
    for (Instance* instance : instances) {
      if (auto attached = instance->attach(); !attached.ok()) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, main_server, "KMS0508: %s",
                     attached.error().message.c_str());
      }
    }
    own(pchild, new Maintenance({instances.begin(), instances.end()}));
    return 0;
  });
}

}  // namespace kms
