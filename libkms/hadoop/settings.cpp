// SPDX-License-Identifier: Apache-2.0
#include "hadoop/settings.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <utility>

#include "auth/text.h"

namespace kms::hadoop {
namespace {

constexpr std::string_view kPrefix = "hadoop.kms.";
constexpr std::string_view kProxyUser = "hadoop.kms.proxyuser.";
const std::string kPasswordFile = "hadoop.security.keystore.java-keystore-provider.password-file";
const std::string kSecretProvider = "hadoop.kms.authentication.signer.secret.provider";
const std::string kSecretFile = "hadoop.kms.authentication.signature.secret.file";
const std::string kBitLength = "hadoop.security.key.default.bitlength";
const std::string kLowWatermark = "hadoop.security.kms.encrypted.key.cache.low.watermark";
const std::string kGroupMapping = "hadoop.security.group.mapping";
const std::string kAuthenticationType = "hadoop.kms.authentication.type";
const std::string kRateLimits = "hadoop.kms.rate-limits";
const std::string kDecryptAlarms = "hadoop.kms.decrypt-alarms";
const std::string kNameRules = "hadoop.kms.authentication.kerberos.name.rules";
const std::string kNameMechanism = "hadoop.kms.authentication.kerberos.name.rules.mechanism";
const std::string kCoreRules = "hadoop.security.auth_to_local";
const std::string kCoreMechanism = "hadoop.security.auth_to_local.mechanism";

// What asks the system for groups, as kms::Groups does.
constexpr std::array<std::string_view, 3> kSystemGroupMappings = {
    "org.apache.hadoop.security.JniBasedUnixGroupsMappingWithFallback",
    "org.apache.hadoop.security.JniBasedUnixGroupsMapping",
    "org.apache.hadoop.security.ShellBasedUnixGroupsMapping"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool exists(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 || errno != ENOENT;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// The properties of one use of ZooKeeper.
struct ZooKeeperNames {
  std::string asked_by, connection_string, path, auth_type, keytab, principal;
};
const std::string kSignerZooKeeper = "hadoop.kms.authentication.signer.secret.provider.zookeeper.";
const std::string kTokenZooKeeper = "hadoop.kms.authentication.zk-dt-secret-manager.";
const ZooKeeperNames kSignerZooKeeperNames = {kSecretProvider,
                                              kSignerZooKeeper + "connection.string",
                                              kSignerZooKeeper + "path",
                                              kSignerZooKeeper + "auth.type",
                                              kSignerZooKeeper + "kerberos.keytab",
                                              kSignerZooKeeper + "kerberos.principal"};
const ZooKeeperNames kTokenZooKeeperNames = {
    kTokenZooKeeper + "enable",           kTokenZooKeeper + "zkConnectionString",
    kTokenZooKeeper + "znodeWorkingPath", kTokenZooKeeper + "zkAuthType",
    kTokenZooKeeper + "kerberos.keytab",  kTokenZooKeeper + "kerberos.principal"};

std::string directory_name(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

class Loader {
 public:
  Loader(const SettingsInput& input, SettingsErrors& errors) : input_(input), errors_(errors) {}
  Settings run();

 private:
  bool read_files();
  void fill_fields();
  void fill_text(const KnownProperty& known, std::string& value);
  void check_key_provider();
  void check_trustee();
  void check_eek_queue();
  void check_key_defaults();
  void check_authentication_type();
  void check_name_rules();
  NameMechanism mechanism(const std::string& name, NameMechanism otherwise);
  void check_signer();
  void check_secret_file();
  void check_zookeeper();
  void check_zookeeper_use(ZooKeeperOptions& options, const ZooKeeperNames& names);
  void check_cookie(const std::string& name, const std::string& value);
  void check_groups();
  void check_administrators();
  void check_limits();
  void collect_proxy_users();
  void add_proxy_rule(const Property& property, std::map<std::string, ProxyUserRule>& rules);
  void report_without_effect();
  void report_unknown();
  void report_unknown(const Property& property);
  void report_empty();

  // The property if somebody wrote it; null for a built-in default.
  const Property* given(const std::string& name) const {
    const Property* property = settings_.find(name);
    return property == nullptr || property->built_in ? nullptr : property;
  }
  // The value, and the mistake in it to errors_.
  template <class T>
  T take(Result<T> result, T otherwise) {
    if (result.ok()) return std::move(result).value();
    errors_.lines.push_back(result.error().message);
    return otherwise;
  }
  std::string text_of(const std::string& name) {
    return take<std::string>(settings_.get_string(name, {}), {});
  }
  void mistake(const std::string& name, const std::string& text) {
    errors_.lines.push_back(configuration_error(*settings_.find(name), text).message);
  }
  void mistake_in_value(const std::string& name, const std::string& text) {
    mistake(name, "value '" + settings_.find(name)->value + "' " + text);
  }
  void warn(const Property& property, const std::string& text) {
    out_.warnings.push_back(configuration_error(property, text).message);
  }

  const SettingsInput& input_;
  SettingsErrors& errors_;
  Configuration settings_;
  Settings out_;
};

Settings Loader::run() {
  out_.conf_dir = directory_name(input_.conf_dir);
  out_.acl_file = out_.conf_dir + "/kms-acls.xml";
  if (!read_files()) return out_;
  fill_fields();
  check_key_provider();
  check_trustee();
  check_eek_queue();
  check_key_defaults();
  check_authentication_type();
  check_name_rules();
  check_signer();
  check_zookeeper();
  check_cookie("hadoop.kms.authentication.cookie.domain", out_.cookie_domain);
  check_cookie("hadoop.kms.authentication.cookie.path", out_.cookie_path);
  check_groups();
  check_administrators();
  check_limits();
  collect_proxy_users();
  report_without_effect();
  report_unknown();
  report_empty();
  out_.warnings.insert(out_.warnings.begin(), settings_.warnings.begin(), settings_.warnings.end());
  return out_;
}

bool Loader::read_files() {
  settings_ = read_configuration(input_, errors_);
  return errors_.lines.empty();
}

void Loader::fill_fields() {
  for (const KnownProperty& known : known_properties()) {
    const std::string name(known.name);
    if (const auto* text = std::get_if<std::string Settings::*>(&known.field)) {
      fill_text(known, out_.*(*text));
    } else if (const auto* flag = std::get_if<bool Settings::*>(&known.field)) {
      out_.*(*flag) = take(settings_.get_bool(name, false), false);
    } else if (const auto* wide = std::get_if<std::int64_t Settings::*>(&known.field)) {
      out_.*(*wide) = take(settings_.get_int(name, 0, known.min, known.max), known.min);
    } else if (const auto* narrow = std::get_if<std::int32_t Settings::*>(&known.field)) {
      out_.*(*narrow) = static_cast<std::int32_t>(
          take(settings_.get_int(name, 0, known.min, known.max), known.min));
    } else if (const auto* inner_text = std::get_if<std::string* (*)(Settings&)>(&known.field)) {
      fill_text(known, *(*inner_text)(out_));
    } else if (const auto* inner_flag = std::get_if<bool* (*)(Settings&)>(&known.field)) {
      *(*inner_flag)(out_) = take(settings_.get_bool(name, false), false);
    } else if (const auto* inner = std::get_if<std::int64_t* (*)(Settings&)>(&known.field)) {
      *(*inner)(out_) = take(settings_.get_int(name, 0, known.min, known.max), known.min);
    }
  }
}

void Loader::fill_text(const KnownProperty& known, std::string& value) {
  const std::string name(known.name);
  value = text_of(name);
  if (const std::string_view variable = first_variable(value); !variable.empty())
    mistake_in_value(name, "has ${" + std::string(variable) + "}, which nothing defines");
}

void Loader::check_key_provider() {
  out_.key_provider_where =
      configuration_error(*settings_.find("hadoop.kms.key.provider.uri"), "").message;
  if (out_.key_provider_uri.empty()) mistake_in_value("hadoop.kms.key.provider.uri", "is empty");
  if (out_.keystore_password_file.empty()) return;
  // A class path resource in Java, which is a file in the configuration folder. An absolute path is
  // ours alone.
  std::string& file = out_.keystore_password_file;
  if (file.front() != '/') file = out_.conf_dir + "/" + file;
  if (!exists(file)) warn(*settings_.find(kPasswordFile), "there is no file " + file);
}

// Files of the store are looked for in the configuration folder, as the keystore's password file.
void Loader::check_trustee() {
  TrusteeOptions& trustee = out_.trustee;
  for (std::string* file :
       {&trustee.password_file, &trustee.seal_key_file, &trustee.seal_passphrase_file,
        &trustee.previous_key_file, &trustee.previous_passphrase_file, &trustee.ssl_root_cert,
        &trustee.ssl_cert, &trustee.ssl_key})
    if (!file->empty() && file->front() != '/') *file = out_.conf_dir + "/" + *file;
  trustee.hsm = out_.hsm;
}

void Loader::check_eek_queue() {
  const std::string value = text_of(kLowWatermark);
  double& watermark = out_.hsm.eek_queue.low_watermark;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), watermark);
  if (error != std::errc() || end != value.data() + value.size() || !(watermark > 0) ||
      !(watermark <= 1))
    mistake_in_value(kLowWatermark, "is no fraction above 0 and up to 1");
}

void Loader::check_key_defaults() {
  if (out_.default_cipher.empty())
    mistake_in_value("hadoop.security.key.default.cipher", "is empty");
  const std::string algorithm = lower(out_.default_cipher.substr(0, out_.default_cipher.find('/')));
  const std::int32_t bits = out_.default_bit_length;
  if (algorithm == "aes" && bits > 1 && bits != 128 && bits != 192 && bits != 256)
    mistake_in_value(kBitLength, "is no AES key size; allowed are 128, 192, 256");
}

void Loader::check_authentication_type() {
  const std::string type = text_of(kAuthenticationType);
  if (type == "kerberos")
    out_.authentication = AuthenticationType::kerberos;
  else if (type != "simple")
    mistake_in_value(kAuthenticationType, "is unknown; allowed are simple, kerberos");
}

NameMechanism Loader::mechanism(const std::string& name, NameMechanism otherwise) {
  const std::string value = lower(text_of(name));
  if (value.empty()) return otherwise;
  if (value == "mit") return NameMechanism::mit;
  if (value != "hadoop") mistake_in_value(name, "is unknown; allowed are hadoop, mit");
  return NameMechanism::hadoop;
}

// Hadoop has one list of rules in a process: core-site.xml sets it, and with Kerberos the KMS's own
// property then takes its place, also by its default.
void Loader::check_name_rules() {
  const bool kerberos = out_.authentication == AuthenticationType::kerberos;
  NameMechanism how = mechanism(kCoreMechanism, NameMechanism::hadoop);
  if (kerberos) how = mechanism(kNameMechanism, how);
  const std::string name = kerberos ? kNameRules : kCoreRules;
  const std::string rules = text_of(name);
  if (kerberos && given(kNameRules) == nullptr) {
    if (const Property* core = given(kCoreRules); core != nullptr)
      warn(*core, "has no effect: with Kerberos " + kNameRules +
                      " counts, and that is not set, so the rule is DEFAULT");
  }
  if (rules.empty()) return;
  if (auto parsed = NameRules::parse(rules, how, default_kerberos_realm()); parsed.ok())
    out_.name_rules = std::move(parsed).value();
  else
    mistake(name, parsed.error().message);
}

// A key store that nodes share has a place for the secrets too; the default goes there.
void Loader::check_signer() {
  const bool shared_store = out_.keeps_records();
  std::string provider = text_of(kSecretProvider);
  if (shared_store && given(kSecretProvider) == nullptr) provider = "trustee";
  if (provider == "file") {
    out_.signer = SignerKind::file;
    check_secret_file();
    return;
  }
  out_.signer = provider == "zookeeper" ? SignerKind::zookeeper
                : provider == "trustee" ? SignerKind::trustee
                                        : SignerKind::random;
  out_.signature_secret_file.clear();
  if (out_.signer == SignerKind::random && provider != "random")
    mistake_in_value(kSecretProvider,
                     "cannot be loaded here; allowed are random, file, zookeeper, trustee");
  else if (out_.signer == SignerKind::trustee && !shared_store)
    mistake_in_value(kSecretProvider,
                     "needs a key provider trustee://, or hsm:// with its metadata there");
  else if (const Property* file = given(kSecretFile))
    warn(*file, "not used, since " + kSecretProvider + " is " + provider);
}

void Loader::check_zookeeper() {
  const bool signer = out_.signer == SignerKind::zookeeper;
  if (signer) check_zookeeper_use(out_.signer_zookeeper, kSignerZooKeeperNames);
  if (!out_.tokens_in_zookeeper) return;
  ZooKeeperOptions& tokens = out_.token_zookeeper;
  // A folder below the root in Java, written without the first '/'.
  if (!tokens.path.starts_with('/')) tokens.path.insert(tokens.path.begin(), '/');
  if (!signer) return check_zookeeper_use(tokens, kTokenZooKeeperNames);
  // Java then goes over the signer's connection.
  const ZooKeeperOptions& shared = out_.signer_zookeeper;
  tokens.connection_string = shared.connection_string;
  tokens.sasl = shared.sasl;
  tokens.keytab = shared.keytab;
  tokens.principal = shared.principal;
  tokens.ssl = shared.ssl;
  tokens.keystore = shared.keystore;
  tokens.keystore_password = shared.keystore_password;
  tokens.truststore = shared.truststore;
  tokens.truststore_password = shared.truststore_password;
}

void Loader::check_zookeeper_use(ZooKeeperOptions& options, const ZooKeeperNames& names) {
  const auto missing = [&](const std::string& name) {
    mistake_in_value(names.asked_by, "needs " + name);
  };
  if (options.connection_string.empty() || options.connection_string.starts_with("#HOSTNAME#"))
    missing(names.connection_string);
  if (!options.path.starts_with('/') || options.path.size() < 2 || options.path.ends_with('/'))
    mistake_in_value(names.path, "is no absolute path of a znode");
  const std::string type = text_of(names.auth_type);
  options.sasl = type == "sasl";
  if (type.empty())
    missing(names.auth_type + ", which has no default; allowed are none, sasl");
  else if (type != "none" && type != "sasl")
    mistake_in_value(names.auth_type, "is unknown; allowed are none, sasl");
  if (!options.sasl) return;
  if (options.keytab.empty()) missing(names.keytab);
  if (options.principal.empty() || options.principal.ends_with("#HOSTNAME#"))
    missing(names.principal);
}

// Java falls back to a random secret in all these cases, which only shows when a restart or a
// second server refuses the cookies.
void Loader::check_secret_file() {
  const std::string& path = out_.signature_secret_file;
  if (path.empty()) {
    mistake_in_value(kSecretProvider, "needs " + kSecretFile);
    return;
  }
  if (path.front() != '/') {
    mistake_in_value(kSecretFile, "is not an absolute path");
    return;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file)
    mistake_in_value(kSecretFile, "cannot be read");
  else if (file.peek() == std::ifstream::traits_type::eof())
    mistake_in_value(kSecretFile, "is an empty file, or none that can be read");
}

void Loader::check_cookie(const std::string& name, const std::string& value) {
  for (const char c : value) {
    if (c > ' ' && c < 0x7f && c != ';' && c != ',' && c != '"') continue;
    mistake_in_value(name, "has a character that does not fit into a cookie");
    return;
  }
}

// Another source of groups may know other members, so a rule would grant to others
// (CVE-2018-11767).
void Loader::check_groups() {
  const std::string mapping = text_of(kGroupMapping);
  if (std::find(kSystemGroupMappings.begin(), kSystemGroupMappings.end(), mapping) !=
      kSystemGroupMappings.end())
    return;
  mistake_in_value(kGroupMapping,
                   "is not served; groups come from the system (files, SSSD, LDAP by NSS). Where "
                   "these are the same groups, set it in kms-site.xml to " +
                       std::string(kSystemGroupMappings[0]));
}

// An ACL that begins with a blank has groups only, so blanks count.
void Loader::check_administrators() {
  const std::string name = "hadoop.kms.http.administrators";
  std::string& acl = out_.http_administrators;
  acl = take<std::string>(settings_.get_verbatim(name, {}), {});
  if (const std::string_view variable = first_variable(acl); !variable.empty())
    mistake_in_value(name, "has ${" + std::string(variable) + "}, which nothing defines");
}

void Loader::check_limits() {
  const auto parse = [&](const std::string& name, auto parsed, auto& rules) {
    if (parsed.ok())
      rules = std::move(*parsed);
    else
      mistake(name, parsed.error().message);
  };
  parse(kRateLimits, parse_limit_rules(out_.rate_limits_text), out_.rate_limits);
  parse(kDecryptAlarms, parse_alarm_rules(out_.decrypt_alarms_text), out_.decrypt_alarms);
}

void Loader::collect_proxy_users() {
  std::map<std::string, ProxyUserRule> rules;
  for (const auto& [name, property] : settings_.all())
    if (name.starts_with(kProxyUser) && find_known_property(name) != nullptr)
      add_proxy_rule(property, rules);
  for (auto& [user, rule] : rules) {
    if (!rule.has_hosts)
      out_.warnings.push_back("property " + std::string(kProxyUser) + user +
                              ".hosts is not set, so " + user + " can act for nobody");
    else if (!rule.has_users && !rule.has_groups)
      out_.warnings.push_back("neither .users nor .groups of " + std::string(kProxyUser) + user +
                              " is set, so " + user + " can act for nobody");
    out_.proxy_users.push_back(std::move(rule));
  }
}

void Loader::add_proxy_rule(const Property& property, std::map<std::string, ProxyUserRule>& rules) {
  const std::string_view name = property.name;
  const std::size_t dot = name.rfind('.');
  const std::string user(name.substr(kProxyUser.size(), dot - kProxyUser.size()));
  const std::string_view what = name.substr(dot + 1);
  const std::string value = take<std::string>(settings_.get_verbatim(property.name, {}), {});
  if (const std::string_view variable = first_variable(value); !variable.empty())
    mistake_in_value(property.name, "has ${" + std::string(variable) + "}, which nothing defines");
  if (user == "*") {
    warn(property, "'*' stands for no user here, Hadoop knows no such wildcard");
    return;
  }
  ProxyUserRule& rule = rules[user];
  rule.real_user = user;
  const bool users = what == "users", groups = what == "groups";
  (users ? rule.users : groups ? rule.groups : rule.hosts) = value;
  (users ? rule.has_users : groups ? rule.has_groups : rule.has_hosts) = true;
  if (!users && !groups) rule.hosts_where = configuration_error(property, "").message;
}

void Loader::report_without_effect() {
  for (const KnownProperty& known : known_properties()) {
    if (known.treatment != Treatment::warned && known.treatment != Treatment::refused) continue;
    const Property* property = given(std::string(known.name));
    if (property == nullptr) continue;
    const std::string value = text_of(property->name);
    if (value == known.default_value ||
        (known.kind == PropertyKind::boolean && lower(value) == known.default_value))
      continue;
    if (known.treatment == Treatment::refused)
      mistake_in_value(property->name, std::string("is refused: ").append(known.note));
    else
      warn(*property, std::string("has no effect: ").append(known.note));
  }
}

void Loader::report_unknown() {
  for (const auto& [name, property] : settings_.all())
    if (!property.built_in && find_known_property(name) == nullptr) report_unknown(property);
}

void Loader::report_unknown(const Property& property) {
  const std::string_view name = property.name;
  for (const char* acl : {"hadoop.kms.acl.", "hadoop.kms.blacklist.", "key.acl.",
                          "default.key.acl.", "whitelist.key.acl."})
    if (name.starts_with(acl))
      return warn(property, "has no effect here, it belongs into kms-acls.xml");
  if (name.starts_with("hadoop.proxyuser.") && property.origin.file.ends_with("/kms-site.xml"))
    return warn(property, "has no effect: the KMS goes by " + std::string(kProxyUser) + "*");
  if (!name.starts_with(kPrefix)) return;
  const std::string_view near = nearest_known_name(name);
  warn(property,
       "is not known" + (near.empty() ? std::string() : "; is " + std::string(near) + " meant?"));
}

void Loader::report_empty() {
  for (const Property& property : settings_.without_value()) {
    const KnownProperty* known = find_known_property(property.name);
    if (known == nullptr || known->treatment != Treatment::used || given(property.name) != nullptr)
      continue;
    if (!known->default_value.empty())
      warn(property,
           "has an empty value, so the default counts: " + std::string(known->default_value));
  }
}

}  // namespace

Configuration read_configuration(const SettingsInput& input, SettingsErrors& errors) {
  Configuration merged;
  const std::string directory = directory_name(input.conf_dir);
  if (!is_directory(directory)) {
    errors.lines.push_back(directory + ": no such directory");
    return merged;
  }
  merged.system_properties = input.system_properties;
  merged.set_default("hadoop.tmp.dir", "/tmp/hadoop-${user.name}");
  for (const KnownProperty& known : known_properties())
    if (!known.default_value.empty())
      merged.set_default(std::string(known.name), std::string(known.default_value));
  for (const Override& directive : input.overrides)
    merged.set_override(directive.property, directive.value, directive.origin);

  for (const char* file : {"/core-site.xml", "/kms-site.xml"}) {
    const std::string path = directory + file;
    if (exists(path)) {
      if (const auto read = merged.add_file(path); !read.ok())
        errors.lines.push_back(read.error().message);
    } else if (path.ends_with("/kms-site.xml")) {
      merged.warnings.push_back(path + ": no such file; built-in defaults and directives count");
    }
  }
  return merged;
}

Settings load_settings(const SettingsInput& input, SettingsErrors& errors) {
  return Loader(input, errors).run();
}

}  // namespace kms::hadoop
