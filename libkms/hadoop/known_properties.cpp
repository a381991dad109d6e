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
constexpr std::string_view kWhitelist = "Location and Require of httpd say what is open";
constexpr std::string_view kKind = "the KMS knows one kind only";
constexpr std::string_view kDisconnect = "a process that ends closes its session";
constexpr std::string_view kShutdown = "a process that ends does not wait for its session";
constexpr std::int64_t kMaxSeconds = std::int64_t{100} * 365 * 86400;
constexpr std::int64_t kMaxMilliseconds = kMaxSeconds * 1000;
constexpr std::string_view kLimits =
    "mod_kms's own: the rules of KMSRateLimit with ';' between them, where that is not used";
constexpr std::string_view kAlarms =
    "mod_kms's own: the rules of KMSDecryptAlarm with ';' between them, where that is not used";
constexpr std::string_view kSigner =
    "random, file, zookeeper, trustee; trustee is the default with keys in trustee://";
constexpr std::string_view kPort = "Listen and VirtualHost of httpd say where it is served";
constexpr std::string_view kTls = "TLS is mod_ssl's business: SSLEngine, SSLCertificateFile";
constexpr std::string_view kAudit = "the audit log is written by libkms, KMSAuditLog says where to";
constexpr std::string_view kAnonymous = "a request without a user is refused all the same";

using Field = decltype(KnownProperty::field);

constexpr KnownProperty take(std::string_view name, PropertyKind kind,
                             std::string_view default_value, Field field, std::int64_t min = 0,
                             std::int64_t max = 0) {
  return {name, kind, default_value, used, {}, min, max, field};
}

constexpr std::string_view kHsm =
    "mod_kms's own: of the provider hsm:// and of sealing keys in an HSM, see hsm.md";
constexpr std::string_view kQueue = "of the provider hsm://; others make EEKs when asked for";

constexpr KnownProperty noted(std::string_view note, KnownProperty property) {
  property.note = note;
  return property;
}
constexpr KnownProperty hsm(KnownProperty property) {
  return noted(kHsm, property);
}

constexpr KnownProperty kProperties[] = {
    take("hadoop.kms.key.provider.uri", text, "jceks://file@/${user.home}/kms.keystore",
         &S::key_provider_uri),
    hsm(take("hadoop.kms.hsm.token", text, {}, [](S& s) { return &s.hsm.token; })),
    hsm(take("hadoop.kms.hsm.library", text, {}, [](S& s) { return &s.hsm.library; })),
    hsm(take("hadoop.kms.hsm.pin-file", text, {}, [](S& s) { return &s.hsm.pin_file; })),
    hsm(take("hadoop.kms.hsm.previous.uri", text, {}, [](S& s) { return &s.hsm.previous_uri; })),
    hsm(take(
        "hadoop.kms.hsm.timeout.ms", integer, "10000", [](S& s) { return &s.hsm.timeout_ms; }, 100,
        600000)),
    noted("mod_kms's own: where many nodes share the keys of one HSM, see hsm.md",
          take("hadoop.kms.hsm.metadata.uri", text, {}, [](S& s) { return &s.hsm.metadata_uri; })),
    hsm(take(
        "hadoop.kms.hsm.sessions", integer, "8", [](S& s) { return &s.hsm.sessions; }, 1, 1024)),
    hsm(take(
        "hadoop.kms.hsm.batch.bytes", integer, "4096", [](S& s) { return &s.hsm.batch_bytes; }, 32,
        1048576)),
    take("hadoop.security.keystore.java-keystore-provider.password-file", text, {},
         &S::keystore_password_file),
    take("hadoop.kms.trustee.password-file", text, {},
         [](S& s) { return &s.trustee.password_file; }),
    take("hadoop.kms.trustee.seal.key-file", text, {},
         [](S& s) { return &s.trustee.seal_key_file; }),
    take("hadoop.kms.trustee.seal.passphrase-file", text, {},
         [](S& s) { return &s.trustee.seal_passphrase_file; }),
    take("hadoop.kms.trustee.seal.hsm.key", text, {}, [](S& s) { return &s.trustee.seal_hsm_key; }),
    take("hadoop.kms.trustee.seal.hsm.profile", text, "generic",
         [](S& s) { return &s.trustee.seal_hsm_profile; }),
    take("hadoop.kms.trustee.seal.previous.key-file", text, {},
         [](S& s) { return &s.trustee.previous_key_file; }),
    take("hadoop.kms.trustee.seal.previous.passphrase-file", text, {},
         [](S& s) { return &s.trustee.previous_passphrase_file; }),
    take("hadoop.kms.trustee.seal.previous.hsm.key", text, {},
         [](S& s) { return &s.trustee.previous_hsm_key; }),
    take("hadoop.kms.trustee.ssl.mode", text, "verify-full",
         [](S& s) { return &s.trustee.ssl_mode; }),
    take("hadoop.kms.trustee.ssl.root-cert", text, {},
         [](S& s) { return &s.trustee.ssl_root_cert; }),
    take("hadoop.kms.trustee.ssl.cert", text, {}, [](S& s) { return &s.trustee.ssl_cert; }),
    take("hadoop.kms.trustee.ssl.key", text, {}, [](S& s) { return &s.trustee.ssl_key; }),
    take(
        "hadoop.kms.trustee.timeout.ms", integer, "5000",
        [](S& s) { return &s.trustee.timeout_ms; }, 100, 600000),
    take(
        "hadoop.kms.trustee.poll.ms", integer, "300", [](S& s) { return &s.trustee.poll_ms; }, 10,
        900),
    take(
        "hadoop.kms.trustee.stale-reads.ms", integer, "60000",
        [](S& s) { return &s.trustee.stale_reads_ms; }, 0, 86400000),
    take(
        "hadoop.kms.trustee.connections", integer, "4", [](S& s) { return &s.trustee.connections; },
        1, 100),
    take(
        "hadoop.kms.trustee.deleted.retention.days", integer, "0",
        [](S& s) { return &s.trustee.retention_days; }, 0, 36500),
    take("hadoop.kms.trustee.require-synchronous-standby", boolean, "true",
         [](S& s) { return &s.trustee.require_standby; }),
    take("hadoop.kms.key.authorization.enable", boolean, "true", &S::key_authorization),
    take("hadoop.security.key.default.cipher", text, "AES/CTR/NoPadding", &S::default_cipher),
    take("hadoop.security.key.default.bitlength", integer, "128", &S::default_bit_length, 1,
         kInt32Max),
    take("hadoop.kms.audit.aggregation.window.ms", integer, "10000",
         &S::audit_aggregation_window_ms, 10, kInt32Max),
    {"hadoop.kms.rate-limits", text, {}, used, kLimits, 0, 0, &S::rate_limits_text},
    {"hadoop.kms.decrypt-alarms", text, {}, used, kAlarms, 0, 0, &S::decrypt_alarms_text},
    {"hadoop.kms.audit.logger", text,
     "org.apache.hadoop.crypto.key.kms.server.SimpleKMSAuditLogger", warned, kAudit},
    {"hadoop.kms.proxyuser.*.users"},
    {"hadoop.kms.proxyuser.*.groups"},
    {"hadoop.kms.proxyuser.*.hosts"},

    {"hadoop.kms.authentication.type", text, "simple"},
    take("hadoop.kms.authentication.token.validity", integer, "36000", &S::token_validity_s, 1,
         kInt32Max),
    take("hadoop.kms.authentication.token.max-inactive-interval", integer, "-1", &S::max_inactive_s,
         -1, kInt32Max),
    take("hadoop.kms.authentication.cookie.domain", text, {}, &S::cookie_domain),
    take("hadoop.kms.authentication.cookie.path", text, {}, &S::cookie_path),
    take("hadoop.kms.authentication.cookie.persistent", boolean, "false", &S::cookie_persistent),
    {"hadoop.kms.authentication.signer.secret.provider", text, "random", used, kSigner},
    take("hadoop.kms.authentication.signature.secret.file", text, {}, &S::signature_secret_file),
    {"hadoop.kms.authentication.simple.anonymous.allowed", boolean, "false", warned, kAnonymous},
    take("hadoop.kms.authentication.kerberos.keytab", text, "${user.home}/kms.keytab",
         &S::kerberos_keytab),
    take("hadoop.kms.authentication.kerberos.principal", text, "HTTP/localhost",
         &S::kerberos_principal),
    {"hadoop.kms.authentication.kerberos.name.rules", text, "DEFAULT"},
    {"hadoop.kms.authentication.kerberos.name.rules.mechanism"},
    {"hadoop.kms.authentication.kerberos.endpoint.whitelist", text, {}, warned, kWhitelist},
    take(
        "hadoop.kms.authentication.delegation-token.update-interval.sec", integer, "86400",
        [](S& s) { return &s.tokens.update_interval_s; }, 1, kMaxSeconds),
    take(
        "hadoop.kms.authentication.delegation-token.max-lifetime.sec", integer, "604800",
        [](S& s) { return &s.tokens.max_lifetime_s; }, 1, kMaxSeconds),
    take(
        "hadoop.kms.authentication.delegation-token.renew-interval.sec", integer, "86400",
        [](S& s) { return &s.tokens.renew_interval_s; }, 1, kMaxSeconds),
    take(
        "hadoop.kms.authentication.delegation-token.removal-scan-interval.sec", integer, "3600",
        [](S& s) { return &s.tokens.removal_scan_interval_s; }, 1, kMaxSeconds),
    {"hadoop.kms.authentication.delegation-token.token-kind", text, "kms-dt", ignored, kKind},

    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.path", text,
         "/hadoop-kms/hadoop-auth-signature-secret", [](S& s) { return &s.signer_zookeeper.path; }),
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.connection.string", text,
         "#HOSTNAME#:#PORT#,...", [](S& s) { return &s.signer_zookeeper.connection_string; }),
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.auth.type", text, "none"},
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.kerberos.keytab", text,
         "/etc/hadoop/conf/kms.keytab", [](S& s) { return &s.signer_zookeeper.keytab; }),
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.kerberos.principal", text,
         "kms/#HOSTNAME#", [](S& s) { return &s.signer_zookeeper.principal; }),
    {"hadoop.kms.authentication.signer.secret.provider.zookeeper.disconnect.on.shutdown", boolean,
     "true", ignored, kDisconnect},
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.enabled", boolean, "false",
         [](S& s) { return &s.signer_zookeeper.ssl; }),
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.keystore.location", text,
         {}, [](S& s) { return &s.signer_zookeeper.keystore; }),
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.keystore.password", text,
         {}, [](S& s) { return &s.signer_zookeeper.keystore_password; }),
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.truststore.location", text,
         {}, [](S& s) { return &s.signer_zookeeper.truststore; }),
    take("hadoop.kms.authentication.signer.secret.provider.zookeeper.ssl.truststore.password", text,
         {}, [](S& s) { return &s.signer_zookeeper.truststore_password; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.enable", boolean, "false",
         &S::tokens_in_zookeeper),
    take("hadoop.kms.authentication.zk-dt-secret-manager.zkConnectionString", text, {},
         [](S& s) { return &s.token_zookeeper.connection_string; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.znodeWorkingPath", text, "zkdtsm",
         [](S& s) { return &s.token_zookeeper.path; }),
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkAuthType"},
    take(
        "hadoop.kms.authentication.zk-dt-secret-manager.zkNumRetries", integer, "3",
        [](S& s) { return &s.token_zookeeper.retries; }, 0, 100),
    take(
        "hadoop.kms.authentication.zk-dt-secret-manager.zkSessionTimeout", integer, "10000",
        [](S& s) { return &s.token_zookeeper.session_timeout_ms; }, 1000, 600000),
    take(
        "hadoop.kms.authentication.zk-dt-secret-manager.zkConnectionTimeout", integer, "10000",
        [](S& s) { return &s.token_zookeeper.connection_timeout_ms; }, 100, 600000),
    {"hadoop.kms.authentication.zk-dt-secret-manager.zkShutdownTimeout", integer, "10000", ignored,
     kShutdown},
    take("hadoop.kms.authentication.zk-dt-secret-manager.kerberos.keytab", text, {},
         [](S& s) { return &s.token_zookeeper.keytab; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.kerberos.principal", text, {},
         [](S& s) { return &s.token_zookeeper.principal; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.kerberos.server.principal", text, {},
         [](S& s) { return &s.token_zookeeper.server_principal; }),
    take(
        "hadoop.kms.authentication.zk-dt-secret-manager.token.seqnum.batch.size", integer, "100",
        [](S& s) { return &s.token_zookeeper.sequence_batch; }, 1, 100000),
    take("hadoop.kms.authentication.zk-dt-secret-manager.token.watcher.enabled", boolean, "true",
         [](S& s) { return &s.token_zookeeper.watch_tokens; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.ssl.enabled", boolean, "false",
         [](S& s) { return &s.token_zookeeper.ssl; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.ssl.keystore.location", text, {},
         [](S& s) { return &s.token_zookeeper.keystore; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.ssl.keystore.password", text, {},
         [](S& s) { return &s.token_zookeeper.keystore_password; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.ssl.truststore.location", text, {},
         [](S& s) { return &s.token_zookeeper.truststore; }),
    take("hadoop.kms.authentication.zk-dt-secret-manager.ssl.truststore.password", text, {},
         [](S& s) { return &s.token_zookeeper.truststore_password; }),

    {"hadoop.kms.http.port", integer, "9600", warned, kPort},
    {"hadoop.kms.http.host", text, "0.0.0.0", warned, kPort},
    {"hadoop.kms.http.administrators"},
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
    noted(kQueue, take(
                      "hadoop.security.kms.encrypted.key.cache.size", integer, "100",
                      [](S& s) { return &s.hsm.eek_queue.size; }, 0, 1000000)),
    {"hadoop.security.kms.encrypted.key.cache.low.watermark", text, "0.3", used, kQueue},
    noted(kQueue, take(
                      "hadoop.security.kms.encrypted.key.cache.num.fill.threads", integer, "2",
                      [](S& s) { return &s.hsm.eek_queue.fill_threads; }, 1, 64)),
    noted(kQueue, take(
                      "hadoop.security.kms.encrypted.key.cache.expiry", integer, "43200000",
                      [](S& s) { return &s.hsm.eek_queue.expiry_ms; }, 1, kMaxMilliseconds)),

    {"hadoop.security.auth_to_local"},
    {"hadoop.security.auth_to_local.mechanism", text, "hadoop"},
    {"hadoop.security.group.mapping", text,
     "org.apache.hadoop.security.JniBasedUnixGroupsMappingWithFallback", used},
    take("hadoop.user.group.static.mapping.overrides", text, "dr.who=;", &S::group_static_mapping),
    take("hadoop.security.groups.cache.secs", integer, "300", &S::group_cache_s, 1, kInt32Max),
    take("hadoop.security.groups.negative-cache.secs", integer, "30", &S::group_negative_cache_s, 0,
         kInt32Max),
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
