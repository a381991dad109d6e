// SPDX-License-Identifier: Apache-2.0
// The JSON line, and what the directives of the audit log say.
#include <sys/stat.h>
#include <syslog.h>

#include <string>
#include <vector>

#include "audit/config.h"
#include "audit/line.h"
#include "core/clock.h"
#include "temp_dir.h"
#include "vectors.h"

using namespace kms;
using unit::assert_text;

namespace {

std::string json_line(const AuditEvent& event, std::int64_t time_ms = 0,
                      const Accesses& accesses = {}) {
  std::string out;
  append_record(out, AuditFormat::json, event, time_ms, accesses);
  return out;
}

unit::Json parsed(const std::string& line) {
  assert_int_equal(line.find('\n'), line.size() - 1);
  for (const char c : line.substr(0, line.size() - 1))
    if (c < ' ' || c > '~') _fail(line.c_str(), __LINE__);
  json_error_t error;
  unit::Json object(
      json_loadb(line.data(), line.size(), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error));
  if (!object) _fail(error.text, __LINE__);
  return object;
}

std::string member(const std::string& line, const char* name) {
  const auto object = parsed(line);
  const json_t* value = json_object_get(object.get(), name);
  if (!json_is_string(value)) _fail(name, __LINE__);
  return {json_string_value(value), json_string_length(value)};
}

void all_members(void**) {
  AuditEvent e;
  e.op = "DECRYPT_EEK";
  e.key = "k1";
  e.version = "k1@0";
  e.user = "alice";
  e.real_user = "gateway/h@R";
  e.remote_address = "2001:db8::1";
  e.request_id = "0123";
  e.extra = "some \"thing\"";
  assert_text(
      json_line(e, 1795520541319, {3, 4023}),
      "{\"time\":\"2026-11-24T11:42:21.319Z\",\"status\":\"OK\",\"operation\":\"DECRYPT_EEK\","
      "\"key\":\"k1\",\"version\":\"k1@0\",\"user\":\"alice\",\"realUser\":\"gateway/h@R\","
      "\"remoteAddress\":\"2001:db8::1\",\"requestId\":\"0123\",\"accessCount\":3,"
      "\"intervalMs\":4023,\"detail\":\"some \\\"thing\\\"\"}\n");
  assert_text(json_line({}, -1), "{\"time\":\"1969-12-31T23:59:59.999Z\",\"status\":\"OK\"}\n");
  e.status = AuditStatus::unauthorized;  // counts are for what was granted
  assert_true(json_line(e).find("accessCount") == std::string::npos);
}

void durations(void**) {
  AuditEvent e;
  e.received_us = now_us() - 1500;
  const auto object = parsed(json_line(e));
  const double took = json_number_value(json_object_get(object.get(), "durationMs"));
  assert_true(took >= 1.5 && took < 1000);
  e.received_us = now_us() + 1000000;  // the clock was set back
  const auto other = parsed(json_line(e));
  assert_true(json_number_value(json_object_get(other.get(), "durationMs")) == 0);
}

void values_come_back_as_they_were(void**) {
  AuditEvent e;
  for (const std::string_view value :
       {std::string_view("J\xc3\xbcrg \xf0\x9f\x98\x80 \\ \" / {}"),
        std::string_view("a\nb\r\t\x1b[2K\0\x7f", 12), std::string_view("\xe2\x80\xae\xc2\x85")}) {
    e.user = value;
    e.extra = value;
    const std::string line = json_line(e);
    assert_true(member(line, "user") == value);
    assert_true(member(line, "detail") == value);
  }
  // Bytes that are no UTF-8 cannot be in JSON; they are shown as in a Java line.
  e.user = "a\xff\nb";
  assert_text(member(json_line(e), "user"), "a\\xff\\nb");
}

void long_values_leave_room_for_the_others(void**) {
  for (const char* unit :
       {"x", "\"", "\n", "\x01", "\x7f", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff"}) {
    for (const std::size_t size : {63u, 64u, 65u, 150u, 499u, 500u, 501u, 899u, 901u, 70000u}) {
      std::string value;
      while (value.size() < size) value += unit;
      AuditEvent e;
      e.status = AuditStatus::unauthenticated;
      e.op = e.user = e.extra = e.version = e.real_user = e.remote_address = e.request_id = value;
      e.key = value;
      e.received_us = 1;
      const std::string line = json_line(e);
      assert_true(line.size() <= kMaxUnmarkedLine);
      const auto object = parsed(line);
      assert_int_equal(json_object_size(object.get()), 11);
      if (size == 70000) assert_true(member(line, "key").find(" bytes left out]...") < 900);
    }
  }
  // What the others leave free is the detail's.
  AuditEvent e;
  const std::string extra = "URL:" + std::string(5000, 'u') + " ErrorMsg:'why'";
  e.extra = extra;
  const std::string line = json_line(e);
  assert_true(line.size() > kMaxUnmarkedLine - 400 && line.size() <= kMaxUnmarkedLine);
  assert_true(member(line, "detail").ends_with("uuu ErrorMsg:'why'"));
}

// --- where it goes

AuditTarget target(const char* text) {
  auto parsed_target = parse_audit_target(text);
  if (!parsed_target.ok()) _fail(parsed_target.error().message.c_str(), __LINE__);
  return std::move(*parsed_target);
}

void targets(void**) {
  using Kind = AuditTarget::Kind;
  AuditTarget t = target("/var/log/kms audit.log");
  assert_true(t.kind == Kind::file && t.where == "/var/log/kms audit.log" && t.name == t.where);
  assert_true(target("./syslog").kind == Kind::file && target("journals").kind == Kind::file);
  t = target("|/usr/bin/rotatelogs -l /var/log/x 86400");
  assert_true(t.kind == Kind::pipe && t.where == "/usr/bin/rotatelogs -l /var/log/x 86400");
  assert_text(t.name, "|/usr/bin/rotatelogs -l /var/log/x 86400");
  t = target("syslog");
  assert_true(t.kind == Kind::syslog && t.facility == LOG_AUTHPRIV);
  assert_text(t.where + " " + t.identifier, "/dev/log kms-audit");
  t = target("syslog:local3:kms2:/run/a:b");
  assert_true(t.facility == LOG_LOCAL3);
  assert_text(t.where + " " + t.identifier, "/run/a:b kms2");
  assert_true(target("syslog::x").facility == LOG_AUTHPRIV);
  t = target("journal");
  assert_true(t.kind == Kind::journal);
  assert_text(t.where + " " + t.identifier, "/run/systemd/journal/socket kms-audit");
  assert_text(target("journal:a:/s").where, "/s");
  const std::string long_path = "journal:a:/" + std::string(120, 's');
  for (const char* bad : {"", " ", "|", "||", "|$ ", "syslog:nothing", "syslog:auth:a b",
                          "syslog:auth:x:relative", "journal:[", long_path.c_str()}) {
    const auto refused = parse_audit_target(bad);
    if (refused.ok()) _fail(bad, __LINE__);
    assert_true(refused.error().kind == ErrorKind::configuration);
  }
}

std::vector<std::string> problems(const char* where, AuditDurability durability, bool chain,
                                  const std::string& key = {}) {
  AuditConfig config;
  config.target = target(where);
  config.durability = durability;
  config.chain = chain;
  config.chain_key_file = key;
  return check_audit_config(config, false);
}

void what_does_not_go_together(void**) {
  using D = AuditDurability;
  for (const char* good : {"/tmp/x", "|cat"}) {
    for (const D d : {D::none, D::write, D::fsync}) assert_true(problems(good, d, false).empty());
    assert_true(problems(good, D::write, true).empty() && problems(good, D::fsync, true).empty());
    assert_int_equal(problems(good, D::none, true).size(), 1);
  }
  for (const char* socket : {"syslog", "journal"}) {
    assert_true(problems(socket, D::write, false).empty());
    assert_int_equal(problems(socket, D::fsync, false).size(), 1);
    assert_int_equal(problems(socket, D::write, true).size(), 1);
    assert_int_equal(problems(socket, D::fsync, true).size(), 2);
  }
  assert_int_equal(problems("/tmp/x", D::write, false, "/some/key").size(), 1);
  AuditConfig config;
  config.target = target("/no/such/folder/x");
  assert_true(check_audit_config(config, false).empty());
  unit::assert_contains(check_audit_config(config, true).at(0), "no folder /no/such/folder");
  config.target = target("syslog:auth:x:/no/such/socket");
  unit::assert_contains(check_audit_config(config, true).at(0), "no socket /no/such/socket");
}

void chain_keys(void**) {
  const unit::TempDir dir;
  auto why = [&](const std::string& path) {
    const auto found = problems("/tmp/x", AuditDurability::write, true, path);
    return found.empty() ? std::string() : found.at(0);
  };
  const std::string file = dir.write("key", "0123456789abcdef");
  chmod(file.c_str(), 0640);
  assert_text(why(file), "");
  auto key = read_chain_key(file);
  assert_true(key.ok() && key->equals(as_bytes("0123456789abcdef")));
  chmod(file.c_str(), 0644);
  unit::assert_contains(why(file), "is open to everybody");
  unit::assert_contains(why(file), file);
  const std::string small = dir.write("small", "0123456789abcde");
  chmod(small.c_str(), 0600);
  unit::assert_contains(why(small), "16 bytes");
  const std::string big = dir.write("big", std::string(64 * 1024 + 1, 'x'));
  chmod(big.c_str(), 0600);
  unit::assert_contains(why(big), "64 KiB");
  unit::assert_contains(why(dir.path("none")), "No such file");
  unit::assert_contains(why(dir.path()), "is not a file");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(all_members),
      cmocka_unit_test(durations),
      cmocka_unit_test(values_come_back_as_they_were),
      cmocka_unit_test(long_values_leave_room_for_the_others),
      cmocka_unit_test(targets),
      cmocka_unit_test(what_does_not_go_together),
      cmocka_unit_test(chain_keys),
  };
  return cmocka_run_group_tests_name("audit_json", tests, nullptr, nullptr);
}
