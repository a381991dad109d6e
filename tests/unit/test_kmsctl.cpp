// SPDX-License-Identifier: Apache-2.0
// What kmsctl is made of: lines of audit logs read back, command lines, URLs. Its commands as a
// whole are run by tests/integration/test_kmsctl.py.
#include "audit/line.h"
#include "audit_line.h"
#include "help.h"
#include "metadata_file.h"
#include "options.h"
#include "rest.h"
#include "temp_dir.h"
#include "vectors.h"

using namespace kmsctl;
using kms::AuditEvent;
using kms::AuditFormat;
using kms::AuditStatus;
using unit::assert_contains;
using unit::assert_text;
using unit::TempDir;

namespace {

std::string written(AuditFormat format, const AuditEvent& event) {
  std::string line;
  kms::append_record(line, format, event, 1795520541319, {3, 4023});
  line.pop_back();
  return line;
}

AuditEvent event_of(AuditStatus status, std::string_view op, std::string_view key,
                    std::string_view user, std::string_view extra = {}) {
  AuditEvent event;
  event.status = status;
  event.op = op;
  if (!key.empty()) event.key = key;
  event.user = user;
  event.extra = extra;
  return event;
}

void what_is_written_is_read_back(void**) {
  const AuditEvent events[] = {
      event_of(AuditStatus::ok, "DECRYPT_EEK", "k1", "alice@R"),
      event_of(AuditStatus::ok, "GET_KEYS", "", "J\xc3\xbcrg x"),
      event_of(AuditStatus::ok, "CREATE_KEY", "k", "alice",
               "UserProvidedMaterial:true Description:x] y, user=bob"),
      event_of(AuditStatus::unauthorized, "READ", "k2", "alice"),
      event_of(AuditStatus::unauthenticated, "", "", "", "RemoteHost:127.0.0.1 Method:GET"),
      event_of(AuditStatus::error, "", "", "alice", "Method:'POST' Exception:'x'"),
  };
  for (const AuditFormat format : {AuditFormat::java, AuditFormat::json}) {
    for (const AuditEvent& event : events) {
      const auto line = parse_audit_line(written(format, event));
      assert_true(line.has_value());
      assert_int_equal(line->status, event.status);
      assert_text(line->op, event.op);
      assert_text(line->key, event.key.value_or(""));
      assert_text(line->user, event.user);
      assert_text(line->extra, event.extra);
      assert_false(line->doubtful);
    }
  }
}

void json_names_the_real_user(void**) {
  AuditEvent event = event_of(AuditStatus::ok, "GET_METADATA", "a\nb, user=x", "alice");
  event.real_user = "hive/h@R";
  const auto line = parse_audit_line(written(AuditFormat::json, event));
  assert_text(line->real_user, "hive/h@R");
  assert_text(line->key, "a\nb, user=x");
  assert_false(line->doubtful);
}

void lines_of_the_java_server(void**) {
  const auto vectors = unit::load_json("auth-vectors.json");
  std::size_t i, parsed = 0;
  json_t* one;
  json_array_foreach(unit::section(vectors, "audit", 98), i, one) {
    const std::string text = unit::text_of(one, "line");
    const auto line = parse_audit_line(text);
    assert_true(line.has_value());
    assert_text(line->time, text.substr(0, 23));
    parsed += line->op.empty() ? 0 : 1;
    // An editor that takes blanks at the ends of lines away does no harm.
    if (text.ends_with("] "))
      assert_text(parse_audit_line(text.substr(0, text.size() - 1))->user, line->user);
  }
  assert_true(i >= 20);
  assert_true(parsed >= 10);
}

void names_that_could_be_others_are_doubtful(void**) {
  const auto doubtful = [](std::string_view key, std::string_view user) {
    const auto line = parse_audit_line(
        written(AuditFormat::java, event_of(AuditStatus::ok, "CREATE_KEY", key, user)));
    return !line || line->doubtful;
  };
  assert_false(doubtful("k", "alice"));
  assert_true(doubtful("k, user=root", "alice"));
  assert_true(doubtful("k, key=z", "alice"));
  assert_true(doubtful("k] x", "alice"));
  assert_true(doubtful("k\n", "alice"));
  assert_true(doubtful("k\\n", "alice"));
  assert_true(doubtful(std::string(5000, 'k'), "alice"));
}

void what_is_no_audit_line(void**) {
  for (const char* text : {"", "OK[op=GET_KEYS, user=a] ", "2026-11-24 11:42:21,319 ",
                           "2026-11-24 11:42:21,319 FINE[op=GET_KEYS, user=a] ",
                           "2026-11-24 11:42:21,319 OKAY", "2026-11-24 11:42:21,319 OK[op=GET_KEYS",
                           "{}", "{\"time\":1}", "{\"time\":\"x\",\"status\":\"y\"}", "{"})
    assert_false(parse_audit_line(text).has_value());
}

// --- command lines ---

CommandLine parse(std::vector<std::string> words) {
  std::vector<char*> argv;
  words.insert(words.begin(), "kmsctl");
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return parse_command_line(static_cast<int>(words.size()), argv.data());
}

void options_stand_where_they_like(void**) {
  const CommandLine line = parse({"--json", "acl", "explain", "--user=alice", "--op", "GET_KEYS",
                                  "rest", "-q", "--", "--last"});
  assert_false(line.bad_option);
  assert_non_null(line.command);
  assert_text(line.command->words(), "acl explain");
  assert_int_equal(line.options.count("json"), 1);
  assert_int_equal(line.options.count("quiet"), 1);
  assert_text(line.options.at("user").back(), "alice");
  assert_text(line.options.at("op").back(), "GET_KEYS");
  assert_int_equal(line.arguments.size(), 2);
  assert_text(line.arguments[0], "rest");
  assert_text(line.arguments[1], "--last");
  assert_int_equal(
      parse({"config", "check", "--set", "a=1", "--set", "b=2"}).options.at("set").size(), 2);
}

void commands_that_are_none(void**) {
  assert_null(parse({}).command);
  assert_null(parse({"acl"}).command);
  assert_null(parse({"acl", "nothing"}).command);
  assert_null(parse({"nothing"}).command);
  assert_true(parse({"acl", "explain", "--nothing"}).bad_option);
  assert_true(parse({"--nothing"}).bad_option);
  assert_true(parse({"acl", "explain", "--user"}).bad_option);
  assert_text(parse({"migrate", "--from", "a"}).command->words(), "migrate");
}

void every_command_can_run(void**) {
  for (const CommandSpec& command : commands()) {
    assert_non_null(command.run);
    assert_true(command.max_arguments < 0 || command.max_arguments >= command.min_arguments);
  }
}

void urls_of_a_kms(void**) {
  const auto url = [](const char* text) {
    auto made = base_url(text);
    return made.ok() ? *made : "ERROR " + made.error().message;
  };
  assert_text(url("http://h:9600/kms"), "http://h:9600/kms");
  assert_text(url("https://h/kms///"), "https://h/kms");
  assert_text(url("kms://https@h:9600/kms"), "https://h:9600/kms");
  for (const char* bad : {"", "h:9600", "ftp://h/kms", "kms://h:9600/kms", "file:///etc/passwd",
                          "kms://http@a;b:9600/kms", "http://h/kms?user.name=x"})
    assert_contains(url(bad), "ERROR --url ");
  assert_text(RestClient::escape("a b/c@0%\xc3\xbc"), "a%20b%2Fc%400%25%C3%BC");
}

void metadata_files(void**) {
  TempDir dir;
  const auto names = [&](const std::string& text) {
    auto read = read_acl_names(dir.write("keys.json", text));
    return read.ok() ? std::to_string(read->size()) : read.error().message;
  };
  const std::string head = "{\"format\": \"kmsctl key metadata 1\", \"keys\": ";
  assert_text(names(head + "[]}"), "0");
  assert_text(names(head + "[{\"name\":\"a\",\"attributes\":{\"key.acl.name\":\"b\"}},"
                           "{\"name\":\"c\",\"attributes\":null},{\"name\":\"d\"}]}"),
              "1");
  assert_contains(names("{"), "keys.json: line 1: ");
  assert_contains(names("{\"keys\": []}"), "\"format\" is not");
  assert_contains(names(head + "{}}"), "\"keys\" is no array");
  assert_contains(names(head + "[{\"name\":\"\"}]}"), "element 0: no \"name\"");
  assert_contains(names(head + "[1]}"), "element 0: no \"name\"");
  assert_false(read_metadata_file(dir.path("none")).ok());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_is_read_back),
      cmocka_unit_test(json_names_the_real_user),
      cmocka_unit_test(lines_of_the_java_server),
      cmocka_unit_test(names_that_could_be_others_are_doubtful),
      cmocka_unit_test(what_is_no_audit_line),
      cmocka_unit_test(options_stand_where_they_like),
      cmocka_unit_test(commands_that_are_none),
      cmocka_unit_test(every_command_can_run),
      cmocka_unit_test(urls_of_a_kms),
      cmocka_unit_test(metadata_files),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
