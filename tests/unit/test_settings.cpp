// SPDX-License-Identifier: Apache-2.0
// What load_settings makes of the files of a Java KMS: values, mistakes, warnings.
#include <algorithm>
#include <set>

#include "hadoop/settings.h"
#include "temp_dir.h"

using namespace kms;
using namespace kms::hadoop;
using unit::assert_contains;
using unit::assert_text;
using unit::TempDir;

namespace {

const std::string kAuth = "hadoop.kms.authentication.";
const std::string kPasswordFile = "hadoop.security.keystore.java-keystore-provider.password-file";

std::string property(const std::string& name, const std::string& value,
                     const std::string& more = "") {
  return "<property><name>" + name + "</name><value>" + value + "</value>" + more + "</property>\n";
}

struct Loaded {
  TempDir dir;
  SettingsInput input;
  SettingsErrors errors;
  Settings settings;

  // The first property of each file is in line 2.
  void site(const std::string& body) {
    dir.write("kms-site.xml", "<configuration>\n" + body + "</configuration>\n");
  }
  void core(const std::string& body) {
    dir.write("core-site.xml", "<configuration>\n" + body + "</configuration>\n");
  }
  void load() {
    input.conf_dir = dir.path();
    if (input.system_properties.empty())
      input.system_properties = {{"user.home", "/home/kms"}, {"user.name", "kms"}};
    errors.lines.clear();
    settings = load_settings(input, errors);
  }
  void load_well() {
    load();
    for (const auto& line : errors.lines) print_error("%s\n", line.c_str());
    assert_int_equal(errors.lines.size(), 0);
  }
};

// The only mistake in a kms-site.xml of one property, without the name of the file.
std::string mistake(const std::string& name, const std::string& value) {
  Loaded l;
  l.site(property(name, value));
  l.load();
  if (l.errors.lines.size() != 1) return std::to_string(l.errors.lines.size()) + " mistakes";
  const std::string start = l.dir.path("kms-site.xml") + ":2: property " + name + ": ";
  assert_contains(l.errors.lines[0], start);
  return l.errors.lines[0].substr(start.size());
}

// The only warning about it.
std::string warning(const std::string& name, const std::string& value) {
  Loaded l;
  l.site(property(name, value));
  l.load_well();
  if (l.settings.warnings.size() != 1)
    return std::to_string(l.settings.warnings.size()) + " warnings";
  const std::string start = l.dir.path("kms-site.xml") + ":2: property " + name + ": ";
  assert_contains(l.settings.warnings[0], start);
  return l.settings.warnings[0].substr(start.size());
}

void defaults_of_the_java_kms(void**) {
  Loaded l;
  l.site("");
  l.load_well();
  const Settings& s = l.settings;
  assert_text(s.conf_dir, l.dir.path());
  assert_text(s.acl_file, l.dir.path("kms-acls.xml"));
  assert_text(s.key_provider_uri, "jceks://file@//home/kms/kms.keystore");
  assert_text(s.keystore_password_file, "");
  assert_true(s.key_authorization);
  assert_text(s.default_cipher, "AES/CTR/NoPadding");
  assert_int_equal(s.default_bit_length, 128);
  assert_true(s.authentication == AuthenticationType::simple);
  assert_int_equal(s.token_validity_s, 36000);
  assert_int_equal(s.max_inactive_s, -1);
  assert_text(s.cookie_domain + s.cookie_path, "");
  assert_false(s.cookie_persistent);
  assert_true(s.signer == SignerKind::random);
  assert_int_equal(s.audit_aggregation_window_ms, 10000);
  assert_text(s.group_static_mapping, "dr.who=;");
  assert_int_equal(s.group_cache_s, 300);
  assert_int_equal(s.group_negative_cache_s, 30);
  assert_true(s.proxy_users.empty());
  assert_true(s.warnings.empty());
}

void every_value_is_read(void**) {
  Loaded l;
  const std::string secret = l.dir.write("secret", "s");
  l.dir.write("kms.pw", "p");
  l.core(property("hadoop.security.key.default.bitlength", "256") +
         property("hadoop.user.group.static.mapping.overrides", "a=b") +
         property("hadoop.security.groups.cache.secs", "7") +
         property("hadoop.security.groups.negative-cache.secs", "0") +
         property("hadoop.kms.proxyuser.hive.svc.users", "a, b") + property("where", "/keys"));
  l.site(property("hadoop.kms.key.provider.uri", " jceks://file@${where}/k.jceks\n") +
         property(kPasswordFile, "kms.pw") +
         property("hadoop.kms.key.authorization.enable", "FALSE") +
         property("hadoop.security.key.default.cipher", "SM4/CTR/NoPadding") +
         property(kAuth + "token.validity", "0x10") +
         property(kAuth + "token.max-inactive-interval", "60") +
         property(kAuth + "cookie.domain", "example.com") +
         property(kAuth + "cookie.path", "/kms") + property(kAuth + "cookie.persistent", "true") +
         property(kAuth + "signer.secret.provider", "file") +
         property(kAuth + "signature.secret.file", secret) +
         property("hadoop.kms.audit.aggregation.window.ms", "500") +
         property("hadoop.kms.proxyuser.hive.svc.hosts", " * ") +
         property("hadoop.kms.proxyuser.oozie.groups", "g") +
         property("hadoop.kms.proxyuser.oozie.hosts", "h"));
  l.load_well();
  const Settings& s = l.settings;
  assert_text(s.key_provider_uri, "jceks://file@/keys/k.jceks");
  assert_text(s.keystore_password_file, l.dir.path("kms.pw"));
  assert_false(s.key_authorization);
  assert_text(s.default_cipher, "SM4/CTR/NoPadding");
  assert_int_equal(s.default_bit_length, 256);
  assert_int_equal(s.token_validity_s, 16);
  assert_int_equal(s.max_inactive_s, 60);
  assert_text(s.cookie_domain + s.cookie_path, "example.com/kms");
  assert_true(s.cookie_persistent);
  assert_true(s.signer == SignerKind::file);
  assert_text(s.signature_secret_file, secret);
  assert_int_equal(s.audit_aggregation_window_ms, 500);
  assert_text(s.group_static_mapping, "a=b");
  assert_int_equal(s.group_cache_s, 7);
  assert_int_equal(s.group_negative_cache_s, 0);
  assert_int_equal(s.proxy_users.size(), 2);
  assert_text(s.proxy_users[0].real_user, "hive.svc");
  assert_text(s.proxy_users[0].users, "a, b");
  assert_text(s.proxy_users[0].hosts, " * ");
  assert_true(s.proxy_users[0].has_users && s.proxy_users[0].has_hosts);
  assert_false(s.proxy_users[0].has_groups || s.proxy_users[1].has_users);
  assert_true(s.warnings.empty());
}

void files_of_the_recorded_server(void**) {
  Loaded l;
  l.dir.write("kms-site.xml", unit::read_file(unit::data_path("rest-transcripts-kms-site.xml")));
  l.load_well();
  assert_text(l.settings.key_provider_uri, "jceks://file@@KMS_DIR@/kms.keystore");
  assert_int_equal(l.settings.proxy_users.size(), 1);
  assert_text(l.settings.proxy_users[0].real_user, "proxyu");
}

void site_beats_core_and_directives_beat_both(void**) {
  Loaded l;
  l.core(property("hadoop.security.key.default.bitlength", "192") +
         property("hadoop.kms.key.provider.uri", "core", "<final>true</final>") +
         property(kAuth + "token.validity", "1", "<final>true</final>"));
  l.site(property("hadoop.security.key.default.bitlength", "256") +
         property("hadoop.kms.key.provider.uri", "site") + property(kAuth + "token.validity", "2"));
  l.input.overrides = {{kAuth + "token.validity", "3", {"/etc/httpd/kms.conf", 9}}};
  l.load_well();
  assert_int_equal(l.settings.default_bit_length, 256);
  assert_text(l.settings.key_provider_uri, "core");
  assert_int_equal(l.settings.token_validity_s, 3);
  assert_int_equal(l.settings.warnings.size(), 1);
  assert_text(l.settings.warnings[0],
              l.dir.path("kms-site.xml") +
                  ":3: property hadoop.kms.key.provider.uri: ignored, since " +
                  l.dir.path("core-site.xml") + ":3 says final");
  l.input.overrides[0].value = "soon";
  l.load();
  assert_int_equal(l.errors.lines.size(), 1);
  assert_contains(l.errors.lines[0], "/etc/httpd/kms.conf:9: property " + kAuth +
                                         "token.validity: value 'soon' is not a whole number");
}

void missing_files(void**) {
  Loaded l;
  l.load_well();
  assert_int_equal(l.settings.warnings.size(), 1);
  assert_text(l.settings.warnings[0], l.dir.path("kms-site.xml") +
                                          ": no such file; built-in defaults and directives count");
  SettingsErrors errors;
  load_settings({l.dir.path("none"), {}, {}}, errors);
  assert_int_equal(errors.lines.size(), 1);
  assert_text(errors.lines[0], l.dir.path("none") + ": no such directory");
}

void all_mistakes_are_found(void**) {
  Loaded l;
  l.site(property(kAuth + "type", "spnego") + property(kAuth + "token.validity", "0") +
         property("hadoop.kms.key.authorization.enable", "yes") +
         property("hadoop.kms.key.provider.uri", "jceks://file@${nowhere}/k") +
         property(kAuth + "zk-dt-secret-manager.znodeWorkingPath", "/") +
         property(kAuth + "zk-dt-secret-manager.enable", "true"));
  l.load();
  assert_int_equal(l.errors.lines.size(), 7);
  const std::string file = l.dir.path("kms-site.xml");
  auto found = [&](const std::string& line) {
    return std::count(l.errors.lines.begin(), l.errors.lines.end(), line);
  };
  assert_int_equal(found(file + ":2: property " + kAuth +
                         "type: value 'spnego' is unknown; allowed are simple, kerberos"),
                   1);
  assert_int_equal(found(file + ":3: property " + kAuth +
                         "token.validity: value '0' is not a whole number from 1 to 2147483647"),
                   1);
  assert_int_equal(found(file + ":4: property hadoop.kms.key.authorization.enable: value 'yes' is "
                                "not one of: true, false"),
                   1);
  assert_int_equal(
      found(file + ":5: property hadoop.kms.key.provider.uri: value "
                   "'jceks://file@${nowhere}/k' has ${nowhere}, which nothing defines"),
      1);
  assert_int_equal(found(file + ":6: property " + kAuth +
                         "zk-dt-secret-manager.znodeWorkingPath: value '/' is no absolute path of "
                         "a znode"),
                   1);
  const std::string enable = file + ":7: property " + kAuth +
                             "zk-dt-secret-manager.enable: value 'true' needs " + kAuth +
                             "zk-dt-secret-manager.";
  assert_int_equal(found(enable + "zkConnectionString"), 1);
  assert_int_equal(found(enable + "zkAuthType, which has no default; allowed are none, sasl"), 1);
  l.dir.write("core-site.xml", "<configuration>");
  l.dir.write("kms-site.xml", "<configuration>\n<property/>");
  l.load();
  assert_int_equal(l.errors.lines.size(), 2);
  assert_contains(l.errors.lines[0], l.dir.path("core-site.xml") + ":1:16: ");
  assert_contains(l.errors.lines[1], file + ":2: a <property> without <name>");
}

void single_mistakes(void**) {
  assert_contains(mistake(kAuth + "type", "Simple"), "is unknown; allowed are simple, kerberos");
  assert_contains(mistake(kAuth + "type", "multi-scheme"), "is unknown");
  assert_contains(
      mistake(kAuth + "signer.secret.provider", "zookeeper"),
      "value 'zookeeper' needs " + kAuth + "signer.secret.provider.zookeeper.connection.string");
  assert_contains(mistake(kAuth + "signer.secret.provider", "org.example.P"),
                  "cannot be loaded here; allowed are random, file, zookeeper, trustee");
  assert_contains(mistake("hadoop.security.auth_to_local", "RULE:[1:$1] nonsense"),
                  "Invalid rule:  nonsense");
  assert_contains(mistake("hadoop.security.auth_to_local.mechanism", "heimdal"),
                  "is unknown; allowed are hadoop, mit");
  assert_contains(mistake(kAuth + "delegation-token.max-lifetime.sec", "0"), "from 1 to ");
  assert_contains(mistake(kAuth + "signer.secret.provider", "file"),
                  "value 'file' needs " + kAuth + "signature.secret.file");
  assert_contains(mistake("hadoop.security.key.default.bitlength", "100"),
                  "value '100' is no AES key size; allowed are 128, 192, 256");
  assert_contains(mistake("hadoop.security.key.default.bitlength", "-1"), "is not a whole number");
  assert_contains(mistake("hadoop.security.key.default.cipher", " "), "is empty");
  assert_contains(mistake("hadoop.kms.key.provider.uri", " "), "is empty");
  assert_contains(mistake("hadoop.kms.audit.aggregation.window.ms", "9"), "from 10 to 2147483647");
  assert_contains(mistake(kAuth + "token.max-inactive-interval", "-2"), "from -1 to ");
  assert_contains(mistake(kAuth + "cookie.path", "/;x"), "does not fit into a cookie");
  assert_contains(mistake(kAuth + "cookie.domain", "a\nb"), "does not fit into a cookie");
  assert_contains(mistake("hadoop.kms.proxyuser.u.hosts", "${h}"),
                  "has ${h}, which nothing defines");
  assert_contains(
      mistake("hadoop.security.group.mapping", "org.apache.hadoop.security.LdapGroupsMapping"),
      "is not served; groups come from the system");
  assert_contains(mistake("hadoop.security.groups.cache.secs", "0"), "from 1 to ");
}

std::string short_name(const Loaded& l, const std::string& principal) {
  auto name = l.settings.name_rules.short_name(principal);
  return name.ok() ? *name : "error: " + name.error().message;
}

void name_rules(void**) {
  const std::string core = property("hadoop.security.auth_to_local", "RULE:[2:$1-core]");
  Loaded l;
  l.load_well();
  assert_text(short_name(l, "hdfs/nn@R"), "hdfs");
  l.dir.write("core-site.xml", "<configuration>" + core + "</configuration>");
  l.load_well();
  assert_text(short_name(l, "hdfs/nn@R"), "hdfs-core");
  assert_text(short_name(l, "alice@R"), "error: No rules applied to alice@R");

  // With Kerberos the KMS's own rules count, also by their default.
  const std::string kerberos = property(kAuth + "type", "kerberos");
  l.site(kerberos);
  l.load_well();
  assert_true(l.settings.authentication == AuthenticationType::kerberos);
  assert_text(short_name(l, "hdfs/nn@NO.SUCH"), "error: No rules applied to hdfs/nn@NO.SUCH");
  assert_int_equal(l.settings.warnings.size(), 1);
  assert_contains(l.settings.warnings[0], "so the rule is DEFAULT");
  l.site(kerberos + property(kAuth + "kerberos.name.rules", "RULE:[2:$1-kms]") +
         property(kAuth + "kerberos.name.rules.mechanism", "MIT"));
  l.load_well();
  assert_text(short_name(l, "hdfs/nn@R"), "hdfs-kms");
  assert_text(short_name(l, "alice@R"), "alice@R");
}

void tokens_and_zookeeper(void**) {
  Loaded l;
  l.load_well();
  assert_int_equal(l.settings.tokens.update_interval_s, 86400);
  assert_int_equal(l.settings.tokens.max_lifetime_s, 604800);
  const std::string zk = kAuth + "signer.secret.provider.zookeeper.",
                    dt = kAuth + "zk-dt-secret-manager.";
  l.site(property(kAuth + "delegation-token.renew-interval.sec", "7") +
         property(kAuth + "signer.secret.provider", "zookeeper") +
         property(zk + "connection.string", "z1:2181,z2:2181") +
         property(zk + "auth.type", "sasl") + property(zk + "kerberos.keytab", "/k") +
         property(zk + "kerberos.principal", "kms/h@R") + property(dt + "enable", "true") +
         property(dt + "zkAuthType", "none") + property(dt + "token.seqnum.batch.size", "5"));
  l.load_well();
  assert_int_equal(l.settings.tokens.renew_interval_s, 7);
  assert_true(l.settings.signer == SignerKind::zookeeper);
  assert_text(l.settings.signer_zookeeper.path, "/hadoop-kms/hadoop-auth-signature-secret");
  assert_true(l.settings.signer_zookeeper.sasl);
  // Tokens go over the signer's connection, whatever is set for them.
  assert_text(l.settings.token_zookeeper.connection_string, "z1:2181,z2:2181");
  assert_text(l.settings.token_zookeeper.path, "/zkdtsm");
  assert_true(l.settings.token_zookeeper.sasl);
  assert_text(l.settings.token_zookeeper.principal, "kms/h@R");
  assert_int_equal(l.settings.token_zookeeper.sequence_batch, 5);

  l.site(property(kAuth + "signer.secret.provider", "zookeeper") +
         property(zk + "connection.string", "z:1") + property(zk + "auth.type", "kerberos") +
         property(zk + "path", "relative"));
  l.load();
  assert_int_equal(l.errors.lines.size(), 2);
  assert_contains(l.errors.lines[0], "is no absolute path of a znode");
  assert_contains(l.errors.lines[1], "is unknown; allowed are none, sasl");
}

void secret_files(void**) {
  Loaded l;
  auto load = [&](const std::string& file) {
    l.site(property(kAuth + "signer.secret.provider", "file") +
           property(kAuth + "signature.secret.file", file));
    l.load();
    return l.errors.lines.size() == 1 ? l.errors.lines[0] : std::string();
  };
  assert_contains(
      load("secret"),
      ":3: property " + kAuth + "signature.secret.file: value 'secret' is not an absolute path");
  assert_contains(load(l.dir.path("none")), "cannot be read");
  assert_contains(load(l.dir.write("empty", "")), "is an empty file");
  assert_contains(load(l.dir.path()), "none that can be read");
  assert_text(load(l.dir.write("secret", "\n")), "");
}

void password_files(void**) {
  Loaded l;
  auto load = [&](const std::string& file) {
    l.site(property(kPasswordFile, file));
    l.load_well();
    return l.settings.keystore_password_file;
  };
  assert_text(load("none.pw"), l.dir.path("none.pw"));
  assert_contains(l.settings.warnings.at(0), "there is no file " + l.dir.path("none.pw"));
  l.dir.write("sub/kms.pw", "x");
  assert_text(load("sub/kms.pw"), l.dir.path("sub/kms.pw"));
  assert_text(load(l.dir.path("sub/kms.pw")), l.dir.path("sub/kms.pw"));
  assert_true(l.settings.warnings.empty());
}

void what_has_no_effect(void**) {
  assert_contains(warning("hadoop.kms.ssl.enabled", "true"),
                  "has no effect: TLS is mod_ssl's business");
  assert_contains(warning("hadoop.kms.http.port", "16000"),
                  "has no effect: Listen and VirtualHost");
  assert_contains(warning("hadoop.kms.audit.logger", "org.example.L"), "has no effect: ");
  assert_contains(warning(kAuth + "simple.anonymous.allowed", "true"),
                  "a request without a user is refused all the same");
  assert_contains(warning(kAuth + "kerberos.endpoint.whitelist", "/x"), "Location and Require");
  assert_contains(warning(kAuth + "signature.secret.file", "/x"), "not used, since");
  // Defaults said out loud, and what nobody misses.
  for (const auto& [name, value] : std::map<std::string, std::string>{
           {"hadoop.kms.ssl.enabled", "False"},
           {"hadoop.kms.http.port", "9600"},
           {"hadoop.kms.cache.enable", "false"},
           {"hadoop.security.kms.encrypted.key.cache.size", "5"},
           {kAuth + "kerberos.principal", "*"},
           {kAuth + "zk-dt-secret-manager.enable", "false"},
           {kAuth + "zk-dt-secret-manager.zkAuthType", "sasl"},
           {kAuth + "signer.secret.provider.zookeeper.path", "/x"},
           {"fs.defaultFS", "hdfs://nn"},
       })
    assert_text(warning(name, value), "0 warnings");
}

void unknown_names(void**) {
  assert_text(warning("hadoop.kms.key.provider.url", "x"),
              "is not known; is hadoop.kms.key.provider.uri meant?");
  assert_text(warning(kAuth + "tokenvalidity", "1"),
              "is not known; is " + kAuth + "token.validity meant?");
  assert_text(warning("hadoop.kms.completely.different", "1"), "is not known");
  assert_text(warning("hadoop.kms." + std::string(100000, 'x'), "1"), "is not known");
  for (const char* name : {"hadoop.kms.acl.GET", "hadoop.kms.blacklist.GET", "key.acl.k.READ",
                           "default.key.acl.READ", "whitelist.key.acl.READ"})
    assert_contains(warning(name, "*"), "belongs into kms-acls.xml");
  assert_contains(warning("hadoop.proxyuser.hive.users", "*"),
                  "the KMS goes by hadoop.kms.proxyuser.");
  Loaded l;
  l.site("<property><name>hadoop.kms.key.provider.uri</name><value/></property>");
  l.core(property("hadoop.proxyuser.hive.users", "*"));
  l.load_well();
  assert_int_equal(l.settings.warnings.size(), 1);
  assert_contains(l.settings.warnings[0], "has an empty value, so the default counts: jceks://");
}

void proxy_users_that_can_act_for_nobody(void**) {
  Loaded l;
  l.site(property("hadoop.kms.proxyuser.a.users", "*") +
         property("hadoop.kms.proxyuser.b.hosts", "*") +
         property("hadoop.kms.proxyuser.*.users", "*"));
  l.load_well();
  assert_int_equal(l.settings.warnings.size(), 3);
  assert_contains(l.settings.warnings[0], "'*' stands for no user here");
  assert_contains(l.settings.warnings[1], "hadoop.kms.proxyuser.a.hosts is not set");
  assert_contains(l.settings.warnings[2], "neither .users nor .groups of hadoop.kms.proxyuser.b");
  assert_int_equal(l.settings.proxy_users.size(), 2);
}

void the_table_is_sound(void**) {
  std::set<std::string_view> names;
  for (const KnownProperty& known : known_properties()) {
    assert_true(names.insert(known.name).second);
    if (known.treatment != Treatment::used) {
      assert_false(known.note.empty());
      assert_true(known.field.index() == 0);
    }
    if (known.kind == PropertyKind::integer && known.treatment == Treatment::used)
      assert_true(known.min < known.max);
    assert_ptr_equal(find_known_property(known.name), &known);
  }
  assert_true(find_known_property("hadoop.kms.proxyuser.a.b.hosts") != nullptr);
  assert_true(find_known_property("hadoop.kms.proxyuser..hosts") == nullptr);
  assert_true(find_known_property("hadoop.kms.proxyuser.hosts") == nullptr);
  assert_true(find_known_property("hadoop.kms.") == nullptr);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(defaults_of_the_java_kms),
      cmocka_unit_test(every_value_is_read),
      cmocka_unit_test(files_of_the_recorded_server),
      cmocka_unit_test(site_beats_core_and_directives_beat_both),
      cmocka_unit_test(missing_files),
      cmocka_unit_test(all_mistakes_are_found),
      cmocka_unit_test(single_mistakes),
      cmocka_unit_test(name_rules),
      cmocka_unit_test(tokens_and_zookeeper),
      cmocka_unit_test(secret_files),
      cmocka_unit_test(password_files),
      cmocka_unit_test(what_has_no_effect),
      cmocka_unit_test(unknown_names),
      cmocka_unit_test(proxy_users_that_can_act_for_nobody),
      cmocka_unit_test(the_table_is_sound),
  };
  return cmocka_run_group_tests_name("settings", tests, nullptr, nullptr);
}
