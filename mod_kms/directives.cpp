// SPDX-License-Identifier: Apache-2.0
// What httpd calls for each directive; directive_table.inc has the rows. Where one means the same
// as a property of kms-site.xml its row names the property, and the value goes the way of the
// file's: one place checks it (hadoop/settings.cpp).
#include <apr_strings.h>
#include <openssl/crypto.h>
#include <strings.h>

#include <charconv>
#include <type_traits>

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

// A virtual host may open its pages to others and share the KMS of the main server all the same.
const char* set_access(cmd_parms* cmd, void*, const char* page, const char* who) {
  ServerConfig& config = server_config(cmd->server);
  const bool own_directives = config.own_directives;
  const char* problem =
      setter(cmd, [&](ServerConfig& own) { return set_page_access(own.page_access, page, who); });
  config.own_directives = own_directives;
  return problem;
}

// Each directive adds a rule, which is checked at once, and all of them together.
template <class Parse>
const char* add_rule(cmd_parms* cmd, std::optional<RuleList> ServerConfig::*list, Parse parse,
                     int argc, char* const argv[]) {
  return setter(cmd, [&](ServerConfig& config) -> std::string {
    std::string rule;
    for (int i = 0; i < argc; ++i) rule += (rule.empty() ? "" : " ") + std::string(argv[i]);
    std::optional<RuleList>& rules = config.*list;
    if (!rules) rules = RuleList{{}, origin_of(cmd)};
    rules->rules.push_back(rule);
    if (rule.find(';') != std::string::npos) return "takes one rule; repeat it for another";
    if (rules->rules.size() > 1 && strcasecmp(rule.c_str(), "none") == 0)
      return "none stands alone";
    const auto parsed = parse(rules->text());
    return parsed.ok() ? std::string() : parsed.error().message;
  });
}

const char* set_rate_limit(cmd_parms* cmd, void*, int argc, char* const argv[]) {
  return add_rule(cmd, &ServerConfig::rate_limits, parse_limit_rules, argc, argv);
}

const char* set_decrypt_alarm(cmd_parms* cmd, void*, int argc, char* const argv[]) {
  return add_rule(cmd, &ServerConfig::decrypt_alarms, parse_alarm_rules, argc, argv);
}

// httpd's table holds every setter as one pointer type; args_how says how it is called.
using Take1 = const char* (*)(cmd_parms*, void*, const char*);
using Take2 = const char* (*)(cmd_parms*, void*, const char*, const char*);
using TakeAll = const char* (*)(cmd_parms*, void*, int, char* const[]);
using Flag = const char* (*)(cmd_parms*, void*, int);

constexpr int server = RSRC_CONF, directory = ACCESS_CONF;

template <class F>
command_rec row(const char* name, int context, F setter, const char* property, const char* help) {
  static_assert(std::is_same_v<F, Take1> || std::is_same_v<F, Take2> ||
                std::is_same_v<F, TakeAll> || std::is_same_v<F, Flag>);
  constexpr cmd_how how = std::is_same_v<F, Take1>     ? TAKE1
                          : std::is_same_v<F, Take2>   ? TAKE2
                          : std::is_same_v<F, TakeAll> ? TAKE_ARGV
                                                       : FLAG;
  const auto function = reinterpret_cast<cmd_func>(reinterpret_cast<void (*)()>(setter));
  return {name, function, const_cast<char*>(property), context, how, help};
}

}  // namespace

#define KMS_DIRECTIVE(name, context, setter, syntax, default_text, help) \
  row(#name, context, &setter, nullptr, help),
#define KMS_PROPERTY(name, setter, property, syntax, help) \
  row(#name, server, &setter, property, help),

const command_rec kDirectives[] = {
#include "directive_table.inc"
    {nullptr, {nullptr}, nullptr, 0, RAW_ARGS, nullptr}};

}  // namespace kms
