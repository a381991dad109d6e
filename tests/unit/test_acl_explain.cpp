// SPDX-License-Identifier: Apache-2.0
// Explanations of ACL decisions, against what the classes of Hadoop 3.4.1 answer and against the
// server's own answers, and the mistakes that the check of kms-acls.xml finds.
#include <set>

#include "acl/explain.h"
#include "acl/lint.h"
#include "temp_dir.h"
#include "vectors.h"

using namespace kms;
using unit::assert_contains;
using unit::assert_text;
using unit::TempDir;

namespace {

class Nowhere : public Logger {
  void log(LogLevel, std::string_view, std::string_view) noexcept override {}
} nowhere;

std::vector<std::string> strings(const json_t* list) {
  std::vector<std::string> out;
  std::size_t i;
  json_t* one;
  json_array_foreach(list, i, one) out.emplace_back(json_string_value(one));
  return out;
}

std::unique_ptr<Groups> groups_of(Result<std::vector<std::string>> answer) {
  Groups::Options options;
  options.lookup = [answer](const std::string&) { return answer; };
  return std::move(*Groups::create(options, nowhere));
}

std::shared_ptr<const AclSet> rules_of(std::vector<hadoop::Property> properties) {
  hadoop::Configuration conf;
  conf.add(std::move(properties));
  std::vector<std::string> warnings;
  auto set = AclSet::build(conf, warnings);
  assert_true(set.ok());
  return *set;
}

hadoop::Property rule(const std::string& name, const std::string& value, int line = 1) {
  hadoop::Property property;
  property.name = name;
  property.value = value;
  property.origin = {"acls.xml", line};
  return property;
}

AclQuestion question(std::string_view operation, std::string_view key = "k") {
  AclQuestion question;
  question.operation = find_acl_operation(operation);
  assert_non_null(question.operation);
  question.acl_name = key;
  return question;
}

AclExplanation ask(const std::vector<hadoop::Property>& properties, const AclQuestion& question,
                   std::string_view user, std::vector<std::string> groups = {}) {
  static std::shared_ptr<const AclSet> set;  // lives as long as the explanation
  set = rules_of(properties);
  return explain(*set, question, {user, {}}, *groups_of(std::move(groups)));
}

// FILE:LINE PROPERTY of the rule that decided.
std::string decider(const AclExplanation& explanation) {
  const RuleLook& look = explanation.rule();
  return (look.rule != nullptr ? look.rule->origin.text() + " " : "- ") + look.property;
}

void lists_as_in_hadoop(void**) {
  const auto vectors = unit::load_json("auth-vectors.json");
  std::size_t i;
  json_t* one;
  json_array_foreach(unit::section(vectors, "acl", 19), i, one) {
    const std::string text = unit::text_of(one, "acl"), user = unit::text_of(one, "user"),
                      real = unit::text_of(one, "realUser");
    const bool allowed = json_is_true(json_object_get(one, "allowed"));
    const auto set = rules_of({rule("hadoop.kms.acl.GET_KEYS", text, 7)});
    const auto groups = groups_of(strings(json_object_get(one, "groups")));
    const AclExplanation got = explain(*set, question("GET_KEYS"), {user, real}, *groups);
    assert_int_equal(got.allowed, allowed);
    assert_text(decider(got), "acls.xml:7 hadoop.kms.acl.GET_KEYS");
    assert_text(got.rule().rule->text, text);
    assert_int_equal(got.rule().match != Match::none, allowed);
    // The same list as one of a key, and as one that shuts out.
    const auto key = rules_of({rule("key.acl.k.READ", text)});
    assert_int_equal(explain(*key, question("READ"), {user, real}, *groups).allowed, allowed);
    const auto black = rules_of({rule("hadoop.kms.blacklist.GET_KEYS", text)});
    assert_int_equal(explain(*black, question("GET_KEYS"), {user, real}, *groups).allowed,
                     !allowed);
  }
  assert_true(i >= 19);
}

AclQuestion question_of(const json_t* check, std::string& key) {
  key = unit::text_of(check, "key");
  const std::string type = unit::text_of(check, "type"), op = unit::text_of(check, "op");
  for (const AclOperation& operation : acl_operations()) {
    AclQuestion made;
    made.operation = &operation;
    made.acl_name = key;
    made.skip_operation = type.empty();
    made.skip_key = !type.empty();
    if (type.empty() ? operation.key_op && key_op_name(*operation.key_op) == op
                     : operation.acl && op_acl_name(*operation.acl) == type)
      return made;
  }
  return {};  // ALL, which is no operation
}

void files_as_in_hadoop(void**) {
  const auto vectors = unit::load_json("configuration-vectors.json");
  TempDir dir;
  std::size_t i, k, asked = 0;
  json_t *one, *check;
  json_array_foreach(unit::section(vectors, "acls", 50), i, one) {
    std::vector<std::string> warnings;
    const auto set = AclSet::load(dir.write("acls.xml", unit::text_of(one, "xml")), warnings);
    assert_true(set.ok());
    json_array_foreach(json_object_get(one, "checks"), k, check) {
      std::string key;
      const AclQuestion about = question_of(check, key);
      if (about.operation == nullptr) continue;
      const auto groups = groups_of(strings(json_object_get(check, "groups")));
      const std::string user = unit::text_of(check, "user"), real = unit::text_of(check, "real");
      const AclExplanation got = explain(**set, about, {user, real}, *groups);
      assert_int_equal(got.allowed, json_is_true(json_object_get(check, "allowed")));
      ++asked;
    }
  }
  assert_true(asked >= 100);
}

void the_deciding_rule_is_named(void**) {
  const std::vector<hadoop::Property> file = {
      rule("hadoop.kms.acl.DECRYPT_EEK", "alice,bob,carol etl", 2),
      rule("hadoop.kms.blacklist.DECRYPT_EEK", "hdfs supergroup", 3),
      rule("key.acl.k.DECRYPT_EEK", "alice", 4),
      rule("key.acl.k.ALL", "carol", 5),
      rule("default.key.acl.DECRYPT_EEK", "*", 6),
      rule("whitelist.key.acl.DECRYPT_EEK", " auditors", 7)};
  const auto decided = [&](std::string_view user, std::vector<std::string> groups = {},
                           std::string_view key = "k") {
    const AclExplanation got = ask(file, question("DECRYPT_EEK", key), user, groups);
    return (got.allowed ? "ALLOW " : "DENY ") + decider(got) + " " + got.rule().matched;
  };
  assert_text(decided("alice"), "ALLOW acls.xml:4 key.acl.k.DECRYPT_EEK alice");
  assert_text(decided("bob"), "DENY acls.xml:4 key.acl.k.DECRYPT_EEK ");
  assert_text(decided("carol"), "ALLOW acls.xml:5 key.acl.k.ALL carol");
  assert_text(decided("bob", {"x", "auditors"}),
              "ALLOW acls.xml:7 whitelist.key.acl.DECRYPT_EEK auditors");
  assert_text(decided("bob", {}, "other"), "ALLOW acls.xml:6 default.key.acl.DECRYPT_EEK ");
  assert_text(decided("dave"), "DENY acls.xml:2 hadoop.kms.acl.DECRYPT_EEK ");
  assert_text(decided("dave", {"etl", "supergroup"}),
              "DENY acls.xml:3 hadoop.kms.blacklist.DECRYPT_EEK supergroup");
  assert_text(decided("dave", {"etl"}), "DENY acls.xml:4 key.acl.k.DECRYPT_EEK ");
}

void each_rule_on_the_way_is_listed(void**) {
  const AclExplanation got =
      ask({rule("key.acl.k.MANAGEMENT", "alice", 4), rule("default.key.acl.READ", "*", 6)},
          question("GET_METADATA"), "bob");
  assert_int_equal(got.checks.size(), 2);
  const AclCheck& op = got.checks[0];
  assert_true(op.allowed);
  assert_text(op.looks.at(0).property, "hadoop.kms.acl.GET_METADATA");
  assert_null(op.looks[0].rule);
  assert_text(op.looks.at(1).property, "hadoop.kms.blacklist.GET_METADATA");
  const AclCheck& key = got.checks[1];
  assert_false(key.allowed);
  assert_text(key.name, "READ");
  assert_text(key.looks.at(0).property, "key.acl.k.READ");
  assert_null(key.looks[0].rule);
  assert_text(key.looks.at(1).property, "default.key.acl.READ");
  assert_false(key.looks[1].consulted);
  assert_text(key.looks.at(2).property, "whitelist.key.acl.READ");
  assert_text(key.looks.at(3).property, "key.acl.k.ALL");
  assert_int_equal(key.looks.size(), 4);
}

void what_is_not_asked_for_is_not_looked_at(void**) {
  const std::vector<hadoop::Property> file = {rule("hadoop.kms.acl.SET_KEY_MATERIAL", " "),
                                              rule("hadoop.kms.acl.ROLLOVER", "x"),
                                              rule("default.key.acl.MANAGEMENT", "alice")};
  AclQuestion create = question("CREATE_KEY");
  assert_true(ask(file, create, "alice").allowed);
  create.material = true;
  const AclExplanation with_material = ask(file, create, "alice");
  assert_false(with_material.allowed);
  assert_int_equal(with_material.decider().level, AclCheck::Level::material);
  // Either of two is enough.
  assert_true(ask(file, question("INVALIDATE_CACHE"), "alice").allowed);
  assert_int_equal(ask(file, question("INVALIDATE_CACHE"), "alice").checks.size(), 3);
  AclQuestion off = question("READ");
  off.key_authorization = false;
  assert_true(ask(file, off, "bob").allowed);
  assert_true(ask(file, off, "bob").checks.empty());
  assert_null(find_acl_operation("GET_nothing"));
}

void no_rule_at_all_denies_keys(void**) {
  const AclExplanation got = ask({}, question("GENERATE_EEK"), "alice");
  assert_false(got.allowed);
  assert_text(decider(got), "- default.key.acl.GENERATE_EEK");
}

void groups_that_cannot_be_told(void**) {
  const auto groups = groups_of(Error(ErrorKind::unavailable, "down"));
  const auto set = rules_of({rule("hadoop.kms.blacklist.GET_KEYS", "hdfs g")});
  const AclExplanation got = explain(*set, question("GET_KEYS"), {"bob", {}}, *groups);
  assert_false(got.allowed);
  assert_int_equal(got.rule().match, Match::groups_unknown);
}

// --- the check of the file ---

std::string property(const std::string& name, const std::string& value) {
  return "<property><name>" + name + "</name><value>" + value + "</value></property>\n";
}

std::string lint(const std::string& body) {
  static std::set<std::string_view> known;
  if (known.empty()) {
    const auto codes = acl_finding_codes();
    known.insert(codes.begin(), codes.end());
  }
  TempDir dir;
  const auto path = dir.write("acls.xml", "<configuration>\n" + body + "</configuration>");
  auto findings = lint_acls(path);
  assert_true(findings.ok());
  std::string text;
  for (const AclFinding& finding : *findings) {
    assert_true(known.count(finding.code) == 1);
    if (finding.severity == AclFinding::Severity::note) continue;
    std::string line = finding.line();
    for (std::size_t at; (at = line.find(dir.path() + "/")) != std::string::npos;)
      line.erase(at, dir.path().size() + 1);
    text += std::string(finding.code) + " " + line + "\n";
  }
  return text;
}

void a_good_file_has_no_findings(void**) {
  assert_text(lint(property("hadoop.kms.acl.GET", "alice,bob etl") +
                   property("hadoop.kms.blacklist.GET", "hdfs supergroup") +
                   property("key.acl.k.READ", "bob") + property("key.acl.k.ALL", "alice") +
                   property("default.key.acl.READ", "*") +
                   property("whitelist.key.acl.DECRYPT_EEK", "auditor")),
              "");
}

void mistakes_in_one_rule(void**) {
  assert_text(lint(property("hadoop.kms.acl.GET", "alice, bob")),
              "users-as-groups acls.xml:2: property hadoop.kms.acl.GET: the first blank ends the "
              "users, so these are groups: 'bob'\n");
  assert_contains(lint(property("key.acl.k.REED", "a")),
                  "unknown-operation acls.xml:2: property key.acl.k.REED: skipped, 'REED' is none");
  assert_contains(lint(property("whitelist.key.acl.ALL", "a")), "unknown-operation acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acl.GET", "al*")), "no-wildcard acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acl.GET", "a b c")), "blank-in-name acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acl.GET", "")), "empty-value acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acl.GET", "*,")), "no-wildcard");
  assert_contains(lint(property("hadoop.kms.acl.GET", "hdfs/nn@R")), "full-principal acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acl.GET", "a ~b")), "misplaced-tilde acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acl.GET", "${no}")), "undefined-variable acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acls.GET", "a")), "no-acl acls.xml:2");
  assert_contains(lint(property("hadoop.kms.acl.GET", "a *")), "star-admits-everyone acls.xml:2");
}

void rules_without_effect(void**) {
  assert_text(lint(property("hadoop.kms.acl.GET", "a") + property("hadoop.kms.acl.GET", "b")),
              "overwritten acls.xml:2: property hadoop.kms.acl.GET: has no effect: acls.xml:3 says "
              "it too, and wins\n");
  assert_text(lint(property("hadoop.kms.acl.GET", "hdfs,a g") +
                   property("hadoop.kms.blacklist.GET", "hdfs g")),
              "blacklisted acls.xml:2: property hadoop.kms.acl.GET: does not admit user 'hdfs', "
              "hadoop.kms.blacklist.GET (acls.xml:3) wins\n"
              "blacklisted acls.xml:2: property hadoop.kms.acl.GET: does not admit group 'g', "
              "hadoop.kms.blacklist.GET (acls.xml:3) wins\n");
  const std::string all_out =
      lint(property("hadoop.kms.acl.GET", "a") + property("hadoop.kms.blacklist.GET", "*"));
  assert_contains(all_out, "unreachable acls.xml:2");
  assert_contains(all_out, "blacklisted acls.xml:3");
  assert_contains(
      lint(property("hadoop.kms.acl.GET", " ") + property("hadoop.kms.blacklist.GET", "a")),
      "unreachable acls.xml:3: property hadoop.kms.blacklist.GET: hadoop.kms.acl.GET (acls.xml:2) "
      "admits nobody");
  assert_text(lint(property("key.acl.k.READ", "a") + property("default.key.acl.READ", "b") +
                   property("whitelist.key.acl.READ", "*")),
              "unreachable acls.xml:2: property key.acl.k.READ: whitelist.key.acl.READ "
              "(acls.xml:4) admits everyone\n"
              "unreachable acls.xml:3: property default.key.acl.READ: whitelist.key.acl.READ "
              "(acls.xml:4) admits everyone\n");
  assert_text(lint(property("key.acl.k.READ", "a") + property("key.acl.k.ALL", "*")),
              "unreachable acls.xml:2: property key.acl.k.READ: key.acl.k.ALL (acls.xml:3) admits "
              "everyone\n");
}

void defaults_that_a_key_puts_out_of_force(void**) {
  const std::string defaults =
      property("default.key.acl.READ", "*") + property("default.key.acl.DECRYPT_EEK", "etl");
  assert_text(lint(property("key.acl.k.READ", "a") + defaults),
              "default-shadowed acls.xml:2: property key.acl.k.READ: one rule for key 'k' puts all "
              "defaults out of force for it, so nobody that no whitelist names may DECRYPT_EEK; "
              "not in force: default.key.acl.DECRYPT_EEK (acls.xml:4)\n");
  assert_text(lint(property("key.acl.k.ALL", "a") + defaults), "");
  assert_text(
      lint(property("key.acl.k.READ", "a") + property("key.acl.k.DECRYPT_EEK", "a") + defaults),
      "");
}

void users_whom_no_op_acl_lets_through(void**) {
  const std::string ops = property("hadoop.kms.acl.DECRYPT_EEK", "hive") +
                          property("hadoop.kms.acl.GET", "x") +
                          property("hadoop.kms.blacklist.GET_METADATA", "bob");
  assert_text(lint(ops + property("key.acl.k.DECRYPT_EEK", "alice,hive")),
              "op-denied acls.xml:5: property key.acl.k.DECRYPT_EEK: admits 'alice' to nothing: "
              "hadoop.kms.acl.* and hadoop.kms.blacklist.* deny DECRYPT_EEK\n");
  assert_text(lint(ops + property("key.acl.k.READ", "alice")), "");  // by GET_METADATA
  assert_contains(lint(ops + property("key.acl.k.READ", "bob")), "deny GET, GET_METADATA");
  // A group may hold anybody.
  assert_text(lint(property("hadoop.kms.acl.DECRYPT_EEK", "hive etl") +
                   property("key.acl.k.DECRYPT_EEK", "alice")),
              "");
}

void a_file_that_does_not_parse(void**) {
  TempDir dir;
  const auto broken = lint_acls(dir.write("acls.xml", "<configuration><property>"));
  assert_false(broken.ok());
  assert_contains(broken.error().message, dir.path("acls.xml") + ":1:");
  assert_false(lint_acls(dir.path("none.xml")).ok());
}

void lines_are_counted_in_the_file_itself(void**) {
  assert_contains(lint("<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" "
                       "href=\"none.xml\"><xi:fallback/></xi:include>\n" +
                       property("hadoop.kms.acl.GET", "a, b")),
                  "users-as-groups acls.xml:3");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(lists_as_in_hadoop),
      cmocka_unit_test(files_as_in_hadoop),
      cmocka_unit_test(the_deciding_rule_is_named),
      cmocka_unit_test(each_rule_on_the_way_is_listed),
      cmocka_unit_test(what_is_not_asked_for_is_not_looked_at),
      cmocka_unit_test(no_rule_at_all_denies_keys),
      cmocka_unit_test(groups_that_cannot_be_told),
      cmocka_unit_test(a_good_file_has_no_findings),
      cmocka_unit_test(mistakes_in_one_rule),
      cmocka_unit_test(rules_without_effect),
      cmocka_unit_test(defaults_that_a_key_puts_out_of_force),
      cmocka_unit_test(users_whom_no_op_acl_lets_through),
      cmocka_unit_test(a_file_that_does_not_parse),
      cmocka_unit_test(lines_are_counted_in_the_file_itself),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
