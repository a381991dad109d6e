// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "auth/name_rules.h"
#include "auth/proxy_users.h"
#include "auth/tokens/token_manager.h"
#include "core/result.h"
#include "hadoop/configuration.h"
#include "keystore/pkcs11/options.h"
#include "keystore/postgres/options.h"
#include "limits/rules.h"
#include "zookeeper/options.h"

namespace kms::hadoop {

// An httpd directive that stands for a property of the same meaning, and wins over the files.
struct Override {
  std::string property;
  std::string value;
  Origin origin;
};

struct SettingsInput {
  std::string conf_dir;  // KMSConfDir: kms-site.xml, core-site.xml (each may be missing) and
                         // kms-acls.xml (must be there, see AclSet)
  std::vector<Override> overrides;
  std::map<std::string, std::string> system_properties;  // user.home, user.name of the serving user
};

enum class AuthenticationType { simple, kerberos };
enum class SignerKind { random, file, zookeeper, trustee };

// What the Java KMS's own files (and overrides) say, typed and checked. Units are in the names.
struct Settings {
  std::string conf_dir;
  std::string acl_file;            // conf_dir/kms-acls.xml
  std::string key_provider_where;  // "FILE:LINE: property NAME: ", for messages about it
  std::string key_provider_uri;    // hadoop.kms.key.provider.uri, expanded
  std::string
      keystore_password_file;     // absolute path in conf_dir; empty when the property is unset
  TrusteeOptions trustee;         // hadoop.kms.trustee.*, for a provider trustee://
  pkcs11::StoreTokenOptions hsm;  // hadoop.kms.hsm.*
  bool key_authorization = true;  // hadoop.kms.key.authorization.enable
  std::string default_cipher;     // hadoop.security.key.default.cipher
  std::int32_t default_bit_length = 128;  // hadoop.security.key.default.bitlength

  AuthenticationType authentication = AuthenticationType::simple;
  NameRules name_rules;  // in force for every name (kms-auth.md 3.1)
  std::string kerberos_keytab,
      kerberos_principal;  // of HTTP/; what mod_auth_gssapi should be given
  std::int64_t token_validity_s = 36000;
  std::int64_t max_inactive_s = -1;
  std::string cookie_domain, cookie_path;
  bool cookie_persistent = false;
  SignerKind signer = SignerKind::random;
  std::string signature_secret_file;  // absolute; empty unless signer is file
  ZooKeeperOptions signer_zookeeper;  // used when signer is zookeeper

  TokenSettings tokens;
  bool tokens_in_zookeeper = false;  // hadoop.kms.authentication.zk-dt-secret-manager.enable
  ZooKeeperOptions token_zookeeper;  // used then

  // hadoop.kms.rate-limits and hadoop.kms.decrypt-alarms, which are our own
  std::string rate_limits_text, decrypt_alarms_text;
  std::vector<LimitRule> rate_limits;
  std::vector<AlarmRule> decrypt_alarms;

  std::int64_t audit_aggregation_window_ms = 10000;
  std::vector<ProxyUserRule> proxy_users;
  std::string http_administrators;   // hadoop.kms.http.administrators, an ACL; blanks kept
  std::string group_static_mapping;  // hadoop.user.group.static.mapping.overrides
  std::int64_t group_cache_s = 300;  // hadoop.security.groups.cache.secs
  std::int64_t group_negative_cache_s = 30;

  std::vector<std::string> warnings;  // for the log, each names its origin

  // Whether the keys are in a store that keeps what nodes share beside keys as well (records.h).
  bool keeps_records() const {
    return key_provider_uri.starts_with("trustee:") ||
           (key_provider_uri.starts_with("hsm:") && !hsm.metadata_uri.empty());
  }
};

// Every mistake found, not only the first; each line names file, line and property.
struct SettingsErrors {
  std::vector<std::string> lines;
};

// The configuration that load_settings goes by, merged but not checked: what is in force, and where
// it was said.
Configuration read_configuration(const SettingsInput& input, SettingsErrors& errors);

// Reads core-site.xml, then kms-site.xml, over the built-in defaults, then the overrides. On
// mistakes errors is filled and the return value is not to be used.
Settings load_settings(const SettingsInput& input, SettingsErrors& errors);

enum class PropertyKind { text, boolean, integer };

// What becomes of a property of the Java KMS here.
enum class Treatment {
  used,
  ignored,  // has no effect, and nobody misses it
  warned,   // has no effect; a value other than the default gives a warning
  refused,  // a value other than the default is a mistake
};

struct KnownProperty {
  std::string_view name;  // "*" stands for a user's short name
  PropertyKind kind = PropertyKind::text;
  std::string_view default_value = {};  // of the Java KMS; empty: unset
  Treatment treatment = Treatment::used;
  std::string_view note = {};  // of what is not used: why, and what does it here
  std::int64_t min = 0, max = 0;
  // Where load_settings puts the value; monostate: it takes more than that. The functions are for
  // members of members.
  std::variant<std::monostate, std::string Settings::*, bool Settings::*, std::int64_t Settings::*,
               std::int32_t Settings::*, std::string* (*)(Settings&), bool* (*)(Settings&),
               std::int64_t* (*)(Settings&)>
      field = {};
};

// All properties of kms-site.xml that have a meaning for a Java KMS, and those of core-site.xml
// that it reads from there. The code, and the checks of the documentation, go by this table.
std::span<const KnownProperty> known_properties();
// "hadoop.kms.proxyuser.alice.hosts" finds "hadoop.kms.proxyuser.*.hosts". Null: not known.
const KnownProperty* find_known_property(std::string_view name);
// The known name that name is likely meant to be; empty when none is near.
std::string_view nearest_known_name(std::string_view name);

}  // namespace kms::hadoop
