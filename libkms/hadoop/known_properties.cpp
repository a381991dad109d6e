// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "hadoop/settings.h"

namespace kms::hadoop {
namespace {

using enum PropertyKind;
using enum Treatment;
using S = Settings;

constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();

constexpr std::string_view kNoJetty = "httpd's own directives do this";
constexpr std::string_view kNoCache = "keys are looked up where they live, no cache to tune";
constexpr std::string_view kNoQueue = "EEKs are made when asked for";
constexpr std::string_view kOnlyKerberos = "only for authentication type kerberos";
constexpr std::string_view kNoZooKeeper = "ZooKeeper is not used";
constexpr std::string_view kNoTokens = "delegation tokens are not served by this version";
constexpr std::string_view kStatusAccess = "who may see status pages is said by Require in httpd";
constexpr std::string_view kPort = "Listen and VirtualHost of httpd say where it is served";
constexpr std::string_view kTls = "TLS is mod_ssl's business: SSLEngine, SSLCertificateFile";
constexpr std::string_view kAudit = "the audit log is written by libkms, KMSAuditLog says where to";
constexpr std::string_view kAnonymous = "a request without a user is refused all the same";
constexpr std::string_view kRules =
    "not applied with authentication type simple of this version: names are cut as by "
    "RULE:[1:$1] RULE:[2:$1]";

constexpr KnownProperty kProperties[] = {
    {"hadoop.kms.key.provider.uri",
     text,
     "jceks://file@/${user.home}/kms.keystore",
     used,
     {},
     0,
     0,
     &S::key_provider_uri},
    {"hadoop.security.keystore.java-keystore-provider.password-file",
     text,
     {},
     used,
     {},
     0,
     0,
     &S::keystore_password_file},
    {"hadoop.kms.key.authorization.enable", boolean, "true", used, {}, 0, 0, &S::key_authorization},
    {"hadoop.security.key.default.cipher",
     text,
     "AES/CTR/NoPadding",
     used,
     {},
     0,
     0,
     &S::default_cipher},
    {"hadoop.security.key.default.bitlength",
     integer,
     "128",
     used,
     {},
     1,
     kInt32Max,
     &S::default_bit_length},
    {"hadoop.kms.audit.aggregation.window.ms",
     integer,
     "10000",
     used,
     {},
     10,
     kInt32Max,
     &S::audit_aggregation_window_ms},
    {"hadoop.kms.audit.logger", text,
     "org.apache.hadoop.crypto.key.kms.server.SimpleKMSAuditLogger", warned, kAudit},
    {"hadoop.kms.proxyuser.*.users"},
    {"hadoop.kms.proxyuser.*.groups"},
    {"hadoop.kms.proxyuser.*.hosts"},

    {"hadoop.kms.authentication.type", text, "simple", used, {}, 0, 0, &S::authentication_type},
    {"hadoop.kms.authentication.token.validity",
     integer,
     "36000",
     used,
     {},
     1,
     kInt32Max,
     &S::token_validity_s},
    {"hadoop.kms.authentication.token.max-inactive-interval",
     integer,
     "-1",
     used,
     {},
     -1,
     kInt32Max,
     &S::max_inactive_s},
    {"hadoop.kms.authentication.cookie.domain", text, {}, used, {}, 0, 0, &S::cookie_domain},
    {"hadoop.kms.authentication.cookie.path", text, {}, used, {}, 0, 0, &S::cookie_path},
    {"hadoop.kms.authentication.cookie.persistent",
     boolean,
     "false",
     used,
     {},
     0,
     0,
     &S::cookie_persistent},
    {"hadoop.kms.authentication.signer.secret.provider", text, "random", used},
    {"hadoop.kms.authentication.signature.secret.file",
     text,
     {},
     used,
     {},
     0,
     0,
     &S::signature_secret_file},
    {"hadoop.kms.authentication.simple.anonymous.allowed", boolean, "false", warned, kAnonymous},
    {"hadoop.kms.authentication.kerberos.keytab", text, "${user.home}/kms.keytab", ignored,
     kOnlyKerberos},
    {"hadoop.kms.authentication.kerberos.principal", text, "HTTP/localhost", ignored,
     kOnlyKerberos},
    {"hadoop.kms.authentication.kerberos.name.rules", text, "DEFAULT", ignored, kOnlyKerberos},
    {"hadoop.kms.authentication.kerberos.name.rules.mechanism", text, {}, ignored, kOnlyKerberos},
    {"hadoop.kms.authentication.kerberos.endpoint.whitelist", text, {}, ignored, kOnlyKerberos},
    {"hadoop.kms.authentication.delegation-token.update-interval.sec", integer, "86400", warned,
     kNoTokens},
    {"hadoop.kms.authentication.delegation-token.max-lifetime.sec", integer, "604800", warned,
     kNoTokens},
    {"hadoop.kms.authentication.delegation-token.renew-interval.sec", integer, "86400", warned,
     kNoTokens},
    {"hadoop.kms.authentication.delegation-token.removal-scan-interval.sec", integer, "3600",
     ignored, kNoTokens},
    {"hadoop.kms.authentication.delegation-token.token-kind", text, "kms-dt", ignored, kNoTokens},

    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.path", text,
     "/hadoop-kms/hadoop-auth-signature-secret", ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.connection.string", text,
     "#HOSTNAME#:#PORT#,...", ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.auth.type", text, "none", ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.kerberos.keytab", text,
     "/etc/hadoop/conf/kms.keytab", ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.kerberos.principal", text,
     "kms/#HOSTNAME#", ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.disconnect.on.shutdown", boolean,
     "true", ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.enabled", boolean, "false",
     ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.keystore.location",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.keystore.password",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.truststore.location",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.truststore.password",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.enable", boolean, "false", refused,
     "delegation tokens in ZooKeeper are not served by this version"},
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkConnectionString",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.znodeWorkingPath", text, "zkdtsm", ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkAuthType", text, {}, ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkNumRetries", integer, "3", ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkSessionTimeout", integer, "10000", ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkConnectionTimeout", integer, "10000",
     ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkShutdownTimeout", integer, "10000", ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.kerberos.keytab",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.kerberos.principal",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.kerberos.server.principal",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.token.seqnum.batch.size", integer, "100",
     ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.token.watcher.enabled", boolean, "true",
     ignored, kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.ssl.enabled", boolean, "false", ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.ssl.keystore.location",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.ssl.keystore.password",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.ssl.truststore.location",
     text,
     {},
     ignored,
     kNoZooKeeper},
    {"hadoop.kms.authentication.zk-dt-secret-manager.ssl.truststore.password",
     text,
     {},
     ignored,
     kNoZooKeeper},

    {"hadoop.kms.http.port", integer, "9600", warned, kPort},
    {"hadoop.kms.http.host", text, "0.0.0.0", warned, kPort},
    {"hadoop.kms.http.administrators", text, {}, warned, kStatusAccess},
    {"hadoop.kms.ssl.enabled", boolean, "false", warned, kTls},
    {"hadoop.http.max.threads", integer, "1000", ignored, kNoJetty},
    {"hadoop.http.max.request.header.size", integer, "65536", ignored, kNoJetty},
    {"hadoop.http.max.response.header.size", integer, "65536", ignored, kNoJetty},
    {"hadoop.http.temp.dir", text, "${hadoop.tmp.dir}/kms", ignored, kNoJetty},
    {"hadoop.http.socket.backlog.size", integer, "500", ignored, kNoJetty},
    {"hadoop.http.idle_timeout.ms", integer, "60000", ignored, kNoJetty},
    {"hadoop.kms.metrics.process.name", text, "KMS", ignored, "a tag of Java metrics"},
    {"hadoop.kms.metrics.session.id", text, {}, ignored, "a tag of Java metrics"},

    {"hadoop.kms.cache.enable", boolean, "true", ignored, kNoCache},
    {"hadoop.kms.cache.timeout.ms", integer, "600000", ignored, kNoCache},
    {"hadoop.kms.current.key.cache.timeout.ms", integer, "30000", ignored, kNoCache},
    {"hadoop.security.kms.encrypted.key.cache.size", integer, "100", ignored, kNoQueue},
    {"hadoop.security.kms.encrypted.key.cache.low.watermark", text, "0.3", ignored, kNoQueue},
    {"hadoop.security.kms.encrypted.key.cache.num.fill.threads", integer, "2", ignored, kNoQueue},
    {"hadoop.security.kms.encrypted.key.cache.expiry", integer, "43200000", ignored, kNoQueue},

    {"hadoop.security.auth_to_local", text, {}, warned, kRules},
    {"hadoop.security.auth_to_local.mechanism", text, "hadoop", ignored, kOnlyKerberos},
    {"hadoop.security.group.mapping", text,
     "org.apache.hadoop.security.JniBasedUnixGroupsMappingWithFallback", used},
    {"hadoop.user.group.static.mapping.overrides",
     text,
     "dr.who=;",
     used,
     {},
     0,
     0,
     &S::group_static_mapping},
    {"hadoop.security.groups.cache.secs",
     integer,
     "300",
     used,
     {},
     1,
     kInt32Max,
     &S::group_cache_s},
    {"hadoop.security.groups.negative-cache.secs",
     integer,
     "30",
     used,
     {},
     0,
     kInt32Max,
     &S::group_negative_cache_s},
};

// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const KnownProperty> known_properties() {
  return kProperties;
}

const KnownProperty* find_known_property(std::string_view name) {
  for (const KnownProperty& known : kProperties) {
    const std::size_t star = known.name.find('*');
    if (star == std::string_view::npos) {
      if (known.name == name) return &known;
      continue;
    }
    // At least one character for the star.
    if (name.size() >= known.name.size() && name.starts_with(known.name.substr(0, star)) &&
        name.ends_with(known.name.substr(star + 1)))
      return &known;
  }
  return nullptr;
}

std::string_view nearest_known_name(std::string_view name) {
  constexpr std::size_t kMaxName = 200;  // a longer one is no slip of the pen
  if (name.size() > kMaxName) return {};
  std::string_view nearest;
  std::size_t least = 1 + std::max<std::size_t>(2, name.size() / 8);
  for (const KnownProperty& known : kProperties) {
    const std::size_t d = distance(name, known.name);
    if (d >= least) continue;
    least = d;
    nearest = known.name;
  }
  return nearest;
}

}  // namespace kms::hadoop
