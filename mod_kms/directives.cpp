// SPDX-License-Identifier: Apache-2.0
// The directives. Where one means the same as a property of kms-site.xml its row names the
// property, and the value goes the way of the file's: one place checks it (hadoop/settings.cpp).
#include <apr_strings.h>
#include <openssl/crypto.h>
#include <strings.h>

#include <charconv>

#include "guard.h"
#include "kms_config.h"

namespace kms {
namespace {

using hadoop::Origin;

Origin origin_of(const cmd_parms* cmd) {
  return {cmd->directive->filename, cmd->directive->line_num};
}

// An error text that httpd may print after its own "Syntax error on line N of FILE".
template <class F>
const char* setter(cmd_parms* cmd, F&& body) noexcept {
  try {
    ServerConfig& config = server_config(cmd->server);
    if (const std::string problem = body(config); !problem.empty())
      return apr_pstrdup(cmd->pool, (std::string(cmd->cmd->name) + " " + problem).c_str());
    config.own_directives = true;
    return nullptr;
  } catch (const std::exception& e) {
    return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", e.what(), nullptr);
  } catch (...) {
    return "unexpected exception";
  }
}

std::string parse_number(const char* text, std::int64_t min, std::int64_t max, std::int64_t& out) {
  const std::string_view digits(text);
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  if (problem == std::errc() && end == digits.data() + digits.size() && out >= min && out <= max)
    return {};
  return "takes a number from " + std::to_string(min) + " to " + std::to_string(max) + ", not '" +
         std::string(text) + "'";
}

// One of a few words, in any case.
template <class T>
std::string parse_word(const char* text, std::initializer_list<std::pair<const char*, T>> words,
                       std::optional<T>& out) {
  std::string all;
  for (const auto& [word, value] : words) {
    if (strcasecmp(text, word) == 0) {
      out = value;
      return {};
    }
    all += (all.empty() ? "" : ", ") + std::string(word);
  }
  return "takes one of " + all + ", not '" + text + "'";
}

const char* resolve_path(const cmd_parms* cmd, const char* path) {
  return ap_server_root_relative(cmd->pool, path);
}

// httpd keeps a directive's text for as long as the configuration lives, and mod_info shows it.
void forget(const cmd_parms* cmd, const char* secret) {
  for (const char* text : {secret, cmd->directive->args})
    if (text != nullptr) OPENSSL_cleanse(const_cast<char*>(text), std::string_view(text).size());
}

void add_override(ServerConfig& config, const cmd_parms* cmd, const char* property,
                  const char* value) {
  config.overrides.push_back({property, value, origin_of(cmd)});
}

// cmd->info is the property's name in all rows below that stand for one.
const char* set_property_text(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    add_override(config, cmd, static_cast<const char*>(cmd->info), value);
    return std::string();
  });
}

// The file is of use with the provider that reads it only.
const char* set_signature_secret_file(cmd_parms* cmd, void*, const char* path) {
  return setter(cmd, [&](ServerConfig& config) {
    add_override(config, cmd, "hadoop.kms.authentication.signer.secret.provider", "file");
    add_override(config, cmd, static_cast<const char*>(cmd->info), resolve_path(cmd, path));
    return std::string();
  });
}

const char* set_property_flag(cmd_parms* cmd, void*, int on) {
  return set_property_text(cmd, nullptr, on ? "true" : "false");
}

const char* set_any_property(cmd_parms* cmd, void*, const char* name, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    add_override(config, cmd, name, value);
    if (std::string_view(name).ends_with("password")) forget(cmd, value);
    return std::string();
  });
}

const char* set_engine(cmd_parms* cmd, void* dir, int on) {
  static_cast<DirConfig*>(dir)->engine = on;
  if (on) server_config(cmd->server).engine_used = true;
  return nullptr;
}

const char* set_conf_dir(cmd_parms* cmd, void*, const char* path) {
  return setter(cmd, [&](ServerConfig& config) {
    const char* resolved = resolve_path(cmd, path);
    if (resolved == nullptr || !ap_is_directory(cmd->temp_pool, resolved))
      return "'" + std::string(path) + "' is not a directory";
    config.conf_dir = resolved;
    return std::string();
  });
}

const char* set_password(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    config.keystore_password = std::make_shared<Secret>(std::string_view(value));
    forget(cmd, value);
    return std::string();
  });
}

const char* set_password_file(cmd_parms* cmd, void*, const char* path) {
  return setter(cmd, [&](ServerConfig& config) {
    config.keystore_password_file = resolve_path(cmd, path);
    return std::string();
  });
}

const char* set_iterations(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    std::int64_t number = 0;
    std::string problem = parse_number(value, 10000, 5000000, number);
    config.jceks_iterations = static_cast<int>(number);
    return problem;
  });
}

const char* set_lock_timeout(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    std::int64_t number = 0;
    std::string problem = parse_number(value, 1, 600000, number);
    config.lock_timeout_ms = static_cast<int>(number);
    return problem;
  });
}

const char* set_max_body(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    std::int64_t number = 0;
    std::string problem = parse_number(value, 1024, std::int64_t{1} << 31, number);
    config.max_request_body = number;
    return problem;
  });
}

const char* set_token_file(cmd_parms* cmd, void*, const char* path) {
  return setter(cmd, [&](ServerConfig& config) {
    config.token_file = resolve_path(cmd, path);
    return std::string();
  });
}

const char* set_audit_log(cmd_parms* cmd, void*, const char* text) {
  return setter(cmd, [&](ServerConfig& config) -> std::string {
    auto target = parse_audit_target(text);
    if (!target.ok()) return "is not usable: " + target.error().message;
    if (target->kind == AuditTarget::Kind::file)
      target->where = target->name = resolve_path(cmd, text);
    config.audit_log = std::move(*target);
    return {};
  });
}

const char* set_audit_format(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    return parse_word<AuditFormat>(
        value, {{"java", AuditFormat::java}, {"json", AuditFormat::json}}, config.audit_format);
  });
}

const char* set_audit_durability(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    return parse_word<AuditDurability>(value,
                                       {{"none", AuditDurability::none},
                                        {"write", AuditDurability::write},
                                        {"fsync", AuditDurability::fsync}},
                                       config.audit_durability);
  });
}

const char* set_audit_chain(cmd_parms* cmd, void*, int on) {
  return setter(cmd, [&](ServerConfig& config) {
    config.audit_chain = on != 0;
    return std::string();
  });
}

const char* set_audit_chain_key(cmd_parms* cmd, void*, const char* path) {
  return setter(cmd, [&](ServerConfig& config) {
    config.audit_chain_key_file = resolve_path(cmd, path);
    return std::string();
  });
}

const char* set_cookie_secure(cmd_parms* cmd, void*, const char* value) {
  return setter(cmd, [&](ServerConfig& config) {
    if (strcasecmp(value, "On") == 0)
      config.cookie_secure = CookieSecure::always;
    else if (strcasecmp(value, "Off") == 0)
      config.cookie_secure = CookieSecure::never;
    else if (strcasecmp(value, "Auto") == 0)
      config.cookie_secure = CookieSecure::by_scheme;
    else
      return "takes On, Off or Auto, not '" + std::string(value) + "'";
    return std::string();
  });
}

const char* set_audit_aggregate(cmd_parms* cmd, void*, int on) {
  return setter(cmd, [&](ServerConfig& config) {
    config.audit_aggregate = on != 0;
    return std::string();
  });
}

// httpd's table holds every setter as one pointer type; the last member says how it is called.
using Take1 = const char* (*)(cmd_parms*, void*, const char*);
using Take2 = const char* (*)(cmd_parms*, void*, const char*, const char*);
using Flag = const char* (*)(cmd_parms*, void*, int);

cmd_func as_cmd(auto function) {
  return reinterpret_cast<cmd_func>(reinterpret_cast<void (*)()>(function));
}

command_rec take1(const char* name, Take1 f, const char* help) {
  return {name, as_cmd(f), nullptr, RSRC_CONF, TAKE1, help};
}
command_rec flag(const char* name, Flag f, const char* help) {
  return {name, as_cmd(f), nullptr, RSRC_CONF, FLAG, help};
}
command_rec property(const char* name, const char* property_name, const char* help,
                     Take1 f = set_property_text) {
  return {name, as_cmd(f), const_cast<char*>(property_name), RSRC_CONF, TAKE1, help};
}
command_rec property_flag(const char* name, const char* property_name, const char* help) {
  return {name, as_cmd(Flag{set_property_flag}), const_cast<char*>(property_name), RSRC_CONF, FLAG,
          help};
}

}  // namespace

const command_rec kDirectives[] = {
    {"KMSEngine", as_cmd(Flag{set_engine}), nullptr, ACCESS_CONF, FLAG,
     "On: this location is served by the KMS"},
    take1("KMSConfDir", set_conf_dir,
          "Hadoop configuration directory with kms-site.xml, kms-acls.xml and core-site.xml"),
    property("KMSKeyProviderURI", "hadoop.kms.key.provider.uri",
             "Where the keys are: jceks://file@/PATH"),
    take1("KMSKeystorePasswordFile", set_password_file, "File with the password of the keystore"),
    take1("KMSKeystorePassword", set_password,
          "Password of the keystore; prefer KMSKeystorePasswordFile"),
    take1("KMSKeystoreIterations", set_iterations,
          "PBE iterations of keystore entries written from now on, 10000 to 5000000"),
    take1("KMSLockTimeout", set_lock_timeout,
          "Longest wait for another writer of the keystore, in milliseconds"),
    property_flag("KMSKeyAuthorization", "hadoop.kms.key.authorization.enable",
                  "Off: no key-level ACLs"),
    property("KMSDefaultCipher", "hadoop.security.key.default.cipher",
             "Cipher of keys created without one"),
    property("KMSDefaultKeyLength", "hadoop.security.key.default.bitlength",
             "Length in bits of keys created without one"),
    property("KMSAuthenticationType", "hadoop.kms.authentication.type", "simple or kerberos"),
    property("KMSTokenValidity", "hadoop.kms.authentication.token.validity",
             "Life of a hadoop.auth cookie in seconds"),
    property("KMSMaxInactiveInterval", "hadoop.kms.authentication.token.max-inactive-interval",
             "Seconds after which an unused cookie expires; -1: never"),
    property("KMSSignatureSecretFile", "hadoop.kms.authentication.signature.secret.file",
             "File with the secret that signs cookies; without it one is generated",
             set_signature_secret_file),
    property("KMSCookieDomain", "hadoop.kms.authentication.cookie.domain", "Domain of the cookie"),
    property("KMSCookiePath", "hadoop.kms.authentication.cookie.path", "Path of the cookie"),
    property_flag("KMSCookiePersistent", "hadoop.kms.authentication.cookie.persistent",
                  "On: the cookie has an Expires attribute"),
    take1("KMSCookieSecure", set_cookie_secure,
          "Attribute Secure of the cookie: On, Off, or Auto, by the scheme of the request"),
    {"KMSProperty", as_cmd(Take2{set_any_property}), nullptr, RSRC_CONF, TAKE2,
     "Name and value of a Hadoop property; wins over the files"},
    take1("KMSTokenFile", set_token_file,
          "File of the delegation tokens; by default beside the keystore"),
    take1("KMSAuditLog", set_audit_log,
          "Where the audit log goes: a file, '|program args', syslog[:facility[:tag]] or journal"),
    take1("KMSAuditFormat", set_audit_format, "Lines of the audit log: java or json"),
    take1("KMSAuditDurability", set_audit_durability,
          "What has happened to an audit record when the answer leaves: none, write or fsync"),
    flag("KMSAuditChain", set_audit_chain,
         "On: each line of the audit log is bound to the one before it"),
    take1("KMSAuditChainKeyFile", set_audit_chain_key, "File with the key of the audit chain"),
    flag("KMSAuditAggregate", set_audit_aggregate,
         "On: repeated operations are summed up as the Java KMS does"),
    property("KMSAuditAggregateWindow", "hadoop.kms.audit.aggregation.window.ms",
             "Window of the aggregation in milliseconds"),
    take1("KMSMaxRequestBody", set_max_body, "Largest request body in bytes"),
    {nullptr, {nullptr}, nullptr, 0, RAW_ARGS, nullptr}};

}  // namespace kms
