// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "auth/proxy_users.h"
#include "core/result.h"
#include "hadoop/configuration.h"

namespace kms::hadoop {

// An httpd directive that stands for a property of the same meaning, and wins over the files.
struct Override {
  std::string property;
  std::string value;
  Origin origin;
};

struct SettingsInput {
  std::string
      conf_dir;  // KMSConfDir: kms-site.xml, core-site.xml, kms-acls.xml; each file may be missing
  std::vector<Override> overrides;
  std::map<std::string, std::string> system_properties;  // user.home, user.name of the serving user
};

enum class SignerKind { random, file };

// What the Java KMS's own files (and overrides) say, typed and checked. Units are in the names.
struct Settings {
  std::string conf_dir;
  std::string acl_file;          // conf_dir/kms-acls.xml
  std::string key_provider_uri;  // hadoop.kms.key.provider.uri, expanded
  std::string
      keystore_password_file;     // absolute path in conf_dir; empty when the property is unset
  bool key_authorization = true;  // hadoop.kms.key.authorization.enable
  std::string default_cipher;     // hadoop.security.key.default.cipher
  std::int32_t default_bit_length = 128;  // hadoop.security.key.default.bitlength

  std::string authentication_type;  // "simple" (others are refused by load_settings for now)
  std::int64_t token_validity_s = 36000;
  std::int64_t max_inactive_s = -1;
  std::string cookie_domain, cookie_path;
  bool cookie_persistent = false;
  SignerKind signer = SignerKind::random;
  std::string signature_secret_file;

  std::int64_t audit_aggregation_window_ms = 10000;
  std::vector<ProxyUserRule> proxy_users;
  std::string group_static_mapping;  // hadoop.user.group.static.mapping.overrides
  std::int64_t group_cache_s = 300;  // hadoop.security.groups.cache.secs
  std::int64_t group_negative_cache_s = 30;

  std::vector<std::string> warnings;  // for the log, each names its origin
};

// Every mistake found, not only the first; each line names file, line and property.
struct SettingsErrors {
  std::vector<std::string> lines;
};

// Reads core-site.xml, then kms-site.xml, over the built-in defaults, then the overrides. On
// mistakes errors is filled and the return value is not to be used.
Settings load_settings(const SettingsInput& input, SettingsErrors& errors);

}  // namespace kms::hadoop
