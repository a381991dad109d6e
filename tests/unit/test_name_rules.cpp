// SPDX-License-Identifier: Apache-2.0
// auth_to_local: the vectors and further pairs come from Hadoop 3.4.1's KerberosName.
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "auth/java_regex.h"
#include "auth/name_rules.h"
#include "core/clock.h"
#include "temp_dir.h"
#include "unit.h"
#include "vectors.h"

using namespace kms;
using unit::assert_text;

namespace {

constexpr const char* kRealm = "TEST.REALM";

NameRules rules_of(std::string_view text, NameMechanism mechanism = NameMechanism::hadoop) {
  auto parsed = NameRules::parse(text, mechanism, kRealm);
  if (!parsed.ok()) _fail(parsed.error().message.c_str(), __LINE__);
  return std::move(parsed).value();
}

// The short name, or "!" and the error.
std::string mapped(const NameRules& rules, std::string_view name) {
  const auto result = rules.short_name(name);
  if (result.ok()) return *result;
  assert_true(result.error().kind == ErrorKind::authentication);
  return "!" + result.error().message;
}

std::string mapped(std::string_view rules, std::string_view name) {
  return mapped(rules_of(rules), name);
}

std::string refusal(std::string_view rules) {
  const auto parsed = NameRules::parse(rules, NameMechanism::hadoop, kRealm);
  assert_false(parsed.ok());
  assert_true(parsed.error().kind == ErrorKind::configuration);
  return parsed.error().message;
}

void vectors(void**) {
  const auto all = unit::load_json("auth-vectors.json");
  const json_t* list = unit::section(all, "auth_to_local", 34);
  std::size_t i, other_mechanisms = 0;
  const json_t* v;
  json_array_foreach(list, i, v) {
    const std::string mechanism = unit::text_of(v, "mechanism");
    if (mechanism != "hadoop" && mechanism != "mit") {
      ++other_mechanisms;
      continue;
    }
    const std::string text = unit::text_of(v, "rules");
    const std::string error = unit::text_of(v, "error");
    const auto rules = NameRules::parse(
        text, mechanism == "mit" ? NameMechanism::mit : NameMechanism::hadoop, kRealm);
    std::string got;
    if (rules.ok()) {
      got = mapped(*rules, unit::text_of(v, "principal"));
    } else {
      got = "!" + rules.error().message;
    }
    if (error.empty()) {
      assert_text(got, unit::text_of(v, "short"));
    } else {
      // Behind the name of Java's class.
      assert_text(got, "!" + error.substr(error.find(": ") + 2));
    }
  }
  assert_true(i > 30);
  assert_int_equal(other_mechanisms, 1);
}

void without_configuration(void**) {
  const NameRules rules;
  const NameRules same = rules_of("RULE:[1:$1] RULE:[2:$1]");
  for (const auto& [name, want] : {std::pair{"alice", "alice"},
                                   {"alice@R", "alice"},
                                   {"hdfs/nn1@R", "hdfs"},
                                   {"hdfs/nn1", "hdfs"},
                                   {"alice/", "alice/"},
                                   {"a/b/c", "a/b/c"},
                                   {"/", "/"},
                                   {"J\xc3\xbcrg x", "J\xc3\xbcrg x"},
                                   {"J\xc3\xbcrg x@R", "J\xc3\xbcrg x"}}) {
    assert_text(mapped(rules, name), want);
    assert_text(mapped(same, name), want);
  }
  for (const char* bad : {"a@b@c", "a/b/c@R", "@R", "alice@", "a/@R", "/b@R", "@", ""}) {
    assert_text(mapped(rules, bad), std::string("!Malformed Kerberos name: ") + bad);
    assert_text(mapped(same, bad), std::string("!Malformed Kerberos name: ") + bad);
  }
  // A message is one line and has an end.
  assert_text(mapped(rules, "\r\nX: y@"), "!Malformed Kerberos name: ??X: y@");
  assert_true(mapped(rules, std::string(100000, 'a') + "@").size() < 300);
}

void parameters(void**) {
  assert_text(mapped("RULE:[2:$2.$1.$0]", "a/b@R"), "b.a.R");
  // No realm: what Java makes of null.
  assert_text(mapped("RULE:[2:$0]", "a/b"), "null");
  assert_text(mapped("RULE:[1:$01]", "a@R"), "a");
  assert_text(mapped("RULE:[1:$2]", "a@R"),
              "!index 2 from $2 is outside of the valid range 0 to 1");
  assert_text(mapped("RULE:[2:x$10]", "a/b@R"),
              "!index 10 from x$10 is outside of the valid range 0 to 2");
  assert_text(mapped("RULE:[1:$]", "a@R"), "!bad format in username mapping in ");
  assert_text(mapped("RULE:[1:$99999999999]", "a@R"),
              "!bad format in username mapping in 99999999999");
  // Of another number of components: not looked at.
  assert_text(mapped("RULE:[1:$9] RULE:[2:$1]", "a/b@R"), "a");
  assert_text(mapped("RULE:[0:x] RULE:[3:x] RULE:[01:y]", "a@R"), "y");
}

void simple_names_only(void**) {
  assert_text(mapped("RULE:[1:$1@$0]s/x/y/g/L", "a@R"),
              "!Non-simple name a@R after auth_to_local rule RULE:[1:$1@$0]s/x/y/g/L");
  assert_text(mapped("RULE:[2:$1/$2](.*)", "a/b@R"),
              "!Non-simple name a/b after auth_to_local rule RULE:[2:$1/$2](.*)");
  const NameRules mit = rules_of("RULE:[2:$1/$2]", NameMechanism::mit);
  assert_text(mapped(mit, "a/b@R"), "a/b");
  assert_text(mapped(mit, "a@R"), "a@R");
  // Java lets it pass, as nobody.
  assert_text(mapped("RULE:[1:$1]s/.*//", "a@R"),
              "!Empty name after auth_to_local rule RULE:[1:$1]s/.*//");
  // DEFAULT goes by the whole realm and case; without one it matches nothing.
  assert_text(mapped("DEFAULT", "hdfs/nn@TEST.REALM"), "hdfs");
  assert_text(mapped("DEFAULT", "a@TEST.REALMS"), "!No rules applied to a@TEST.REALMS");
  const auto nowhere = NameRules::parse("DEFAULT", NameMechanism::hadoop, "");
  assert_text(mapped(*nowhere, "a/b"), "!No rules applied to a/b");
  // An error ends it, whatever comes behind.
  assert_text(mapped("RULE:[1:$1@$0] RULE:[1:$1]", "a@R").substr(0, 16), "!Non-simple name");
}

void lower_case(void**) {
  assert_text(mapped("RULE:[1:$1]/L", "AL\xc3\x89@R"), "al\xc3\xa9");
  assert_text(mapped("RULE:[1:$1]L", "BOB@R"), "bob");
  // I with a dot; sigma at the end of a word and in it.
  assert_text(mapped("RULE:[1:$1]/L", "\xc4\xb0X\xce\xa3@R"), "i\xcc\x87x\xcf\x82");
  assert_text(mapped("RULE:[1:$1]/L", "\xce\xa3X@R"), "\xcf\x83x");
  assert_text(mapped("DEFAULT/L", "BOB@TEST.REALM"), "BOB");  // as Java has it
  assert_text(mapped("RULE:[1:$1]/L", "\xff@R").substr(0, 10), "!Not UTF-8");
}

void rule_texts(void**) {
  // Nothing between rules is needed; the slash and the L may go alone.
  assert_text(mapped("RULE:[2:$1]DEFAULTRULE:[1:x]/", "a@R"), "x");
  assert_text(mapped(" \t\n\v\f\r RULE:[1:$1]\r\n", "a@R"), "a");
  assert_text(mapped("RULE:[1:$1](a)s/a/b/RULE:[1:c]", "a@R"), "b");
  for (const char* bad :
       {"BOGUS", "default", "RULE:[1:$1](x", "RULE:[1:$1]s/a", "RULE:[1:$1]s/a/b", "RULE:[1:$1]x",
        "RULE:[1", "RULE:[:$1]", "RULE:[-1:$1]", "RULE:[+1:$1]", "RULE:[1 :$1]",
        "RULE:[99999999999:$1]", "RULE:[1:$1", "DEFAULT;DEFAULT", "RULE:[1:$1]/g",
        "RULE:[1:$1]\xc2\xa0"
        "DEFAULT",
        "RULE:[1:\xff]"})
    assert_text(refusal(bad).substr(0, 14), "Invalid rule: ");
  assert_text(refusal("DEFAULT RULE:[1:$1]s/a"), "Invalid rule: s/a");
  assert_text(refusal("RULE:[1:$1](a[)"),
              "Invalid rule: RULE:[1:$1](a[): pattern 'a[': a [ without its ] at byte 2 of the "
              "pattern");
  assert_text(refusal("RULE:[1:$1]s/a(/x/"),
              "Invalid rule: RULE:[1:$1]s/a(/x/: pattern 'a(': missing closing parenthesis");
  assert_text(mapped("", "a"), "a");
  assert_text(mapped("", "a@R"), "!No rules applied to a@R");
}

// Pattern and replacement of s///g on a subject, by Java.
void patterns_as_in_java(void**) {
  struct Case {
    const char *pattern, *to, *subject, *want;
  };
  for (const Case& c : {
           Case{"a*", "-", "baac", "-b--c-"},
           {"x*|b", "-", "ab", "-a-b-"},
           {"", "-", "\xf0\x9f\x98\x80y", "-\xf0\x9f\x98\x80-y-"},
           {"(?i)@example", "", "u@EXAMPLE", "u"},
           {"a(?i:b)", "x", "abaBAB", "xxAB"},
           {"[\\w-.]+@", "x", "a-b.c@d", "xd"},
           {"[\\p{Lower}\\P{Alpha}-]", "x", "aA-1", "xAxx"},
           {"\\p{Alpha}", "x",
            "a\xc3\xbc"
            "B",
            "x\xc3\xbcx"},
           {"\\p{L}", "x",
            "a\xc3\xbc"
            "1",
            "xx1"},
           {"\\w", "x", "a\xc3\xbc", "x\xc3\xbc"},
           {"[]a]", "x", "]a[", "xx["},
           {"[^]a]", "x", "]a[", "]ax"},
           {"\\Qa.b\\E+", "x", "a.bb aab", "x aab"},
           {"\\Q.", "x", "a.", "ax"},
           {"\\u0061\\x62\\x{63}", "x", "abc", "x"},
           {"(?<first>.)(.)", "$2${first}", "abcd", "badc"},
           {"(a)|(b)", "[$1$2]", "abc", "[a][b]c"},
           {"(.)", "$12", "ab", "a2b2"},
           {"(.)\\1", "x", "aabc", "xbc"},
           {"(?<n>.)\\k<n>", "x", "aab", "xb"},
           {"a", "\\$1\\\\", "a", "$1\\"},
           {"a", "\\\xc3\xbc", "a", "\xc3\xbc"},
           {"(?<=a)b|b(?!c)", "x", "abbc b", "axbc x"},
           {"(?>a*)a|b++", "x", "aabb", "aax"},
           {"^a{1,2}?|c$", "x", "aac", "xax"},
           {"\\bb", "x", "ab-b", "ab-x"},
           {"(?=a).?a", "x", "alice", "xlice"},
           {"a}]", "x", "a}]", "x"},
       }) {
    const auto regex = JavaRegex::compile(c.pattern);
    if (!regex.ok()) _fail((c.pattern + (": " + regex.error().message)).c_str(), __LINE__);
    const auto got = regex->replace(c.subject, c.to, true);
    assert_text(got.ok() ? *got : got.error().message, c.want);
  }
  const auto first = JavaRegex::compile("a");
  assert_text(*first->replace("baa", "x", false), "bxa");
  assert_text(*first->replace("b", "$9", false), "b");  // only looked at when something matches
  for (const auto& [to, want] : {std::pair{"$1", "No group 1"},
                                 {"$x", "Illegal group reference"},
                                 {"$", "Illegal group reference"},
                                 {"\\", "character to be escaped is missing"},
                                 {"${n}", "No group with name {n}"},
                                 {"${n\n}", "named capturing group is missing trailing '}'"},
                                 {"${n", "named capturing group is missing trailing '}'"}})
    assert_text(first->replace("a", to, true).error().message, want);
  // The whole of it, not its beginning.
  const auto whole = JavaRegex::compile("a|ab");
  assert_true(*whole->matches("ab"));
  assert_false(*whole->matches("abc"));
  assert_false(*whole->matches("xab"));
}

// What PCRE2 knows and Java does not, or otherwise.
void patterns_that_are_refused(void**) {
  for (const char* pattern : {"[a-z&&[^b]]",
                              "[a[bc]]",
                              "[[:alpha:]]",
                              "(?x)a b",
                              "(?u)a",
                              "(?#a)",
                              "(*UTF)a",
                              "(*LIMIT_MATCH=9)a",
                              "(?|a)",
                              "(?R)",
                              "(?1)",
                              "(?'n'a)",
                              "(?P<n>a)",
                              "(?",
                              "(?)",
                              "(?^i)",
                              "\\K",
                              "\\C",
                              "\\N",
                              "\\X",
                              "\\G",
                              "\\y",
                              "\\E",
                              "\\0",
                              "\\07",
                              "\\12",
                              "\\cA",
                              "\\k{n}",
                              "\\k<n>(?<n>a)",
                              "\\g1",
                              "\\b{g}",
                              "\\o{101}",
                              "\\x4",
                              "\\x{110000}",
                              "\\x{",
                              "\\x{}",
                              "\\x{-1}",
                              "\\ud800",
                              "\\u12",
                              "\\p{IsLatin}",
                              "\\p{^Lu}",
                              "\\p{Any}",
                              "\\p",
                              "\\p{",
                              "[\\b]",
                              "[\\Qa\\E]",
                              "[\\1]",
                              "a{",
                              "a{,2}",
                              "{2}",
                              "a{2",
                              "a{x}",
                              "a**",
                              "a{2}{3}",
                              "a+*",
                              "*",
                              "(*)",
                              "a(",
                              "a)",
                              "[a",
                              "[]",
                              "\\",
                              "(?i)\xc3\xbc",
                              "\\b\xc3\xbc",
                              "(?i)\\p{Lu}",
                              "\\1",
                              "(?<=a*)b",
                              "(?<1n>a)",
                              "\xff"}) {
    const auto regex = JavaRegex::compile(pattern);
    if (regex.ok()) _fail(pattern, __LINE__);
    assert_true(regex.error().kind == ErrorKind::configuration);
    assert_false(regex.error().message.empty());
  }
}

void names_that_no_pattern_is_asked_about(void**) {
  const NameRules rules = rules_of("RULE:[1:$1](.*)");
  for (const char* bad :
       {"a\nb@R", "a\x7f@R", "a\xc2\x85@R", "a\xe2\x80\xa8@R", "a\xff@R", "\xed\xa0\x80@R"}) {
    assert_text(mapped(rules, bad),
                "!The name has characters that a rule's pattern cannot be matched with");
  }
  assert_text(mapped(rules, "a\xc2\xa0\xe2\x80\xaa@R"), "a\xc2\xa0\xe2\x80\xaa");
  // Java folds k and U+212A with another flag only.
  const NameRules folded = rules_of("RULE:[1:$1]s/(?i)k/x/g");
  assert_text(mapped(folded, "kKz@R"), "xxz");
  assert_text(mapped(folded, "\xe2\x84\xaa@R").substr(0, 9), "!The name");
  assert_text(mapped(rules, std::string(1024, 'a') + "@R"), std::string(1024, 'a'));
  assert_text(mapped(rules, std::string(1025, 'a') + "@R"),
              "!The name is too long for a rule's pattern");
  // Twice as long with each character.
  const NameRules wide = rules_of("RULE:[1:$1]s/(?=(.*)$)./$1/g");
  assert_text(mapped(wide, std::string(1024, 'a') + "@R"), "!A rule makes the name too long");
}

void patterns_give_up(void**) {
  for (const char* pattern : {"(a+)+[bc]", "a*a*a*a*[bc]", "(a|a)*[bc]"}) {
    const auto regex = JavaRegex::compile(pattern);
    assert_true(regex.ok());
    const std::int64_t start = steady_ms();
    const auto result = regex->matches(std::string(1000, 'a'));
    assert_false(result.ok());
    assert_true(result.error().kind == ErrorKind::authentication);
    assert_false(regex->replace(std::string(1000, 'a'), "", true).ok());
    assert_true(steady_ms() - start < 5000);
  }
  // Denied, and not taken for "no match": the next rule would be too kind.
  const std::string name = std::string(40, 'a') + "@R";
  assert_text(mapped(rules_of("RULE:[1:$1]s/(a+)+[bc]/x/ RULE:[1:$1]"), name).substr(0, 26),
              "!A rule's pattern gives up");
}

void threads_share_rules(void**) {
  const NameRules rules = rules_of("RULE:[1:$1@$0](.*@R)s/@.*//g/L RULE:[2:$1]");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([copy = rules] {
      for (int i = 0; i < 200; ++i) {
        const std::string name = "User" + std::to_string(i);
        if (mapped(copy, name + "@R") != "user" + std::to_string(i)) std::abort();
      }
    });
  for (auto& thread : threads) thread.join();
}

void realm_of_the_host(void**) {
  const unit::TempDir dir;
  dir.write("krb5.conf", "[libdefaults]\n default_realm = HOST.REALM\n");
  setenv("KRB5_CONFIG", (dir.path() + "/krb5.conf").c_str(), 1);
  assert_text(default_kerberos_realm(), "HOST.REALM");
  dir.write("krb5.conf", "[libdefaults]\n dns_lookup_realm = false\n");
  assert_text(default_kerberos_realm(), "");
  setenv("KRB5_CONFIG", (dir.path() + "/none.conf").c_str(), 1);
  assert_text(default_kerberos_realm(), "");
  dir.write("krb5.conf", "[[[\n");
  setenv("KRB5_CONFIG", (dir.path() + "/krb5.conf").c_str(), 1);
  assert_text(default_kerberos_realm(), "");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(vectors),
      cmocka_unit_test(without_configuration),
      cmocka_unit_test(parameters),
      cmocka_unit_test(simple_names_only),
      cmocka_unit_test(lower_case),
      cmocka_unit_test(rule_texts),
      cmocka_unit_test(patterns_as_in_java),
      cmocka_unit_test(patterns_that_are_refused),
      cmocka_unit_test(names_that_no_pattern_is_asked_about),
      cmocka_unit_test(patterns_give_up),
      cmocka_unit_test(threads_share_rules),
      cmocka_unit_test(realm_of_the_host),
  };
  return cmocka_run_group_tests_name("name_rules", tests, nullptr, nullptr);
}
