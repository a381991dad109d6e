// SPDX-License-Identifier: Apache-2.0
// *-site.xml files and ${} expansion, against what Hadoop 3.4.1 makes of them
// (configuration-vectors.json), and what this reader refuses on purpose.
#include <sys/stat.h>

#include "hadoop/configuration.h"
#include "temp_dir.h"
#include "vectors.h"

using namespace kms;
using hadoop::Configuration;
using unit::assert_contains;
using unit::assert_text;
using unit::TempDir;

namespace {

const std::string kXi = " xmlns:xi=\"http://www.w3.org/2001/XInclude\"";

std::string site(const std::string& body, const std::string& attributes = "") {
  return "<configuration" + attributes + ">" + body + "</configuration>";
}

std::string property(const std::string& name, const std::string& value,
                     const std::string& more = "") {
  return "<property><name>" + name + "</name><value>" + value + "</value>" + more + "</property>";
}

// The error that xml gives, "" when it has none.
std::string error_of(const std::string& xml, const std::string& base_dir = "/nowhere") {
  auto parsed = hadoop::parse_site_xml(xml, "f.xml", base_dir);
  if (parsed.ok()) return {};
  assert_true(parsed.error().kind == ErrorKind::configuration);
  return parsed.error().message;
}

std::optional<std::string> vector_environment(const std::string& name) {
  if (name == "E1") return "env1";
  if (name == "E0") return "";
  return std::nullopt;
}

void expansion_as_in_hadoop(void**) {
  const auto vectors = unit::load_json("configuration-vectors.json");
  std::size_t i;
  json_t* one;
  json_array_foreach(unit::section(vectors, "expansion", 280), i, one) {
    Configuration conf;
    conf.system_properties = {{"sys", "S"}, {"a", "SYS-A"}};
    conf.environment = vector_environment;
    const char* name;
    json_t* value;
    json_object_foreach(json_object_get(one, "properties"), name, value)
        conf.set_override(name, json_string_value(value), {});
    conf.set_override("q", unit::text_of(one, "value"), {"here", 1});
    const auto got = conf.get_verbatim("q", "");
    const json_t* want = json_object_get(one, "expanded");
    if (json_is_null(want)) {
      assert_false(got.ok());
      assert_contains(got.error().message, "here:1: property q: ");
      assert_text(*conf.get("q"), unit::text_of(one, "value"));
    } else {
      assert_true(got.ok());
      assert_text(*got, json_string_value(want));
    }
  }
  assert_true(i > 200);
}

void check_site_case(const json_t* one) {
  TempDir dir;
  Configuration conf;
  bool good = true;
  const char* name;
  json_t* value;
  json_object_foreach(json_object_get(one, "files"), name, value)
      dir.write(name, json_string_value(value));
  for (const char* file : {"1.xml", "2.xml", "3.xml"})
    if (std::filesystem::exists(dir.path(file))) good = good && conf.add_file(dir.path(file)).ok();
  json_t* want = json_object_get(one, "properties");
  if (json_is_null(want) || json_is_true(json_object_get(one, "strict"))) {
    assert_false(good);
    return;
  }
  assert_true(good);
  assert_int_equal(conf.all().size(), json_object_size(want));
  json_object_foreach(want, name, value) {
    if (*name == ' ') continue;  // Hadoop's getters cannot reach these
    assert_true(conf.has(name));
    assert_text(conf.find(name)->value, json_string_value(value));
  }
}

void files_as_in_hadoop(void**) {
  const auto vectors = unit::load_json("configuration-vectors.json");
  std::size_t i;
  json_t* one;
  json_array_foreach(unit::section(vectors, "site_xml", 116), i, one) {
    print_message("%s\n", unit::text_of(one, "name").c_str());
    check_site_case(one);
  }
  assert_true(i > 100);
}

void later_files_win_unless_final(void**) {
  TempDir dir;
  Configuration conf;
  conf.set_default("a", "default");
  conf.set_default("d", "default");
  assert_true(conf.find("d")->built_in);
  const auto one = dir.write(
      "one.xml", site("\n" + property("a", "1", "<final>true</final>") + property("b", "1")));
  const auto two = dir.write("two.xml", site("\n\n" + property("a", "2") + property("b", "2")));
  assert_true(conf.add_file(one).ok());
  assert_true(conf.add_file(two).ok());
  conf.set_default("b", "weak");
  assert_text(conf.find("a")->value, "1");
  assert_text(conf.find("b")->value, "2");
  assert_text(conf.find("b")->origin.text(), two + ":3");
  assert_text(*conf.get("d"), "default");
  assert_int_equal(conf.warnings.size(), 1);
  assert_text(conf.warnings[0], two + ":3: property a: ignored, since " + one + ":2 says final");
}

void override_beats_final_before_and_after(void**) {
  TempDir dir;
  Configuration conf;
  const auto file = dir.write("s.xml", site(property("a", "1", "<final>true</final>") +
                                            property("b", "1", "<final>true</final>")));
  conf.set_override("a", "over", {"httpd.conf", 30});
  assert_true(conf.add_file(file).ok());
  conf.set_override("b", "over", {"httpd.conf", 31});
  assert_true(conf.add_file(file).ok());
  assert_text(*conf.get("a"), "over");
  assert_text(*conf.get("b"), "over");
  assert_text(conf.find("b")->origin.text(), "httpd.conf:31");
}

void empty_value_says_nothing(void**) {
  Configuration conf;
  conf.set_default("a", "default");
  auto parsed = hadoop::parse_site_xml(
      site("<property><name>a</name><value/></property><property name=\"b\" value=\"\"/>"), "f.xml",
      ".");
  assert_true(parsed.ok());
  conf.add(std::move(*parsed));
  assert_text(*conf.get("a"), "default");
  assert_text(*conf.get("b"), "");
  assert_int_equal(conf.without_value().size(), 1);
  assert_text(conf.without_value()[0].name, "a");
}

void what_hadoop_passes_over_is_warned_of(void**) {
  std::vector<std::string> warnings;
  auto parsed = hadoop::parse_site_xml(
      site("\n<property><name>a</name><value>1</value><final> true</final></property>"
           "\n<proprety><name>b</name></proprety><proprety/>"),
      "f.xml", ".", &warnings);
  assert_true(parsed.ok());
  assert_int_equal(warnings.size(), 2);
  assert_text(warnings[0],
              "f.xml:2: <final> says ' true'; Hadoop takes only the exact word 'true'");
  assert_text(warnings[1], "f.xml:3: Hadoop takes no notice of an element <proprety>");
}

void typed_values(void**) {
  Configuration conf;
  auto set = [&](const char* name, const char* value) {
    conf.set_override(name, value, {"/c/kms-site.xml", 7});
  };
  set("t", " TRUE\n");
  set("f", "false");
  set("y", "yes");
  set("n", " -12 ");
  set("x", "0x1F");
  set("p", "+5");
  set("bad", "12s");
  set("big", "9223372036854775808");
  set("none", " ");
  set("ref", "${n}");
  set("loop", "${loop2}");
  set("loop2", "${loop}");
  assert_true(*conf.get_bool("t", false));
  assert_false(*conf.get_bool("f", true));
  assert_true(*conf.get_bool("absent", true));
  assert_text(conf.get_bool("y", true).error().message,
              "/c/kms-site.xml:7: property y: value 'yes' is not one of: true, false");
  assert_int_equal(*conf.get_int("n", 0, -20, 20), -12);
  assert_int_equal(*conf.get_int("x", 0, 0, 100), 31);
  assert_int_equal(*conf.get_int("p", 0, 0, 100), 5);
  assert_int_equal(*conf.get_int("absent", 4, 0, 1), 4);
  assert_int_equal(*conf.get_int("ref", 0, -20, 20), -12);
  assert_text(conf.get_int("ref", 0, 0, 100).error().message,
              "/c/kms-site.xml:7: property ref: value '${n}' (that is '-12') is not a whole number "
              "from 0 to 100");
  for (const char* name : {"bad", "big", "none", "t", "loop"})
    assert_false(conf.get_int(name, 0, 0, INT64_MAX).ok());
  assert_text(*conf.get_string("t", ""), "TRUE");
  assert_text(*conf.get_verbatim("t", ""), " TRUE\n");
  assert_false(conf.get_string("loop", "").ok());
  assert_false(conf.get_bool("loop", true).ok());
}

void environment_of_the_process(void**) {
  Configuration conf;
  setenv("KMS_TEST_VARIABLE", "here", 1);
  conf.set_override("a", "${env.KMS_TEST_VARIABLE}-${env.KMS_TEST_NONE-else}", {});
  assert_text(*conf.get("a"), "here-else");
  conf.environment = [](const std::string&) { return std::nullopt; };
  assert_text(*conf.get("a"), "${env.KMS_TEST_VARIABLE}-${env.KMS_TEST_NONE-else}");
}

void errors_name_file_line_and_column(void**) {
  assert_text(error_of("<configuration>\n <property>\n</configuration>"),
              "f.xml:3:3: mismatched tag");
  assert_text(error_of(""), "f.xml:1:1: no element found");
  assert_text(error_of("\n<configurations/>"),
              "f.xml:2: the root element is <configurations>, not <configuration>");
  assert_text(error_of(site("\n\n<property>\n<value>1</value></property>")),
              "f.xml:3: a <property> without <name>");
  assert_text(error_of(site("<property><name> </name></property>")),
              "f.xml:1: a <property> without <name>");
  TempDir dir;
  dir.write("bad.xml", "<configuration>\n\n& </configuration>");
  assert_text(error_of(site("<include href=\"bad.xml\"/>"), dir.path()),
              dir.path("bad.xml") + ":3:2: not well-formed (invalid token)");
  const auto missing = hadoop::read_site_xml(dir.path("none.xml"));
  assert_false(missing.ok());
  assert_text(missing.error().message, dir.path("none.xml") + ": No such file or directory");
}

void entities_are_refused(void**) {
  const std::string body = site(property("a", "&e;"));
  assert_contains(error_of("<!DOCTYPE configuration [<!ENTITY e \"x\">]>" + body),
                  "f.xml:1: a document type with declarations of its own is not accepted");
  assert_contains(
      error_of("<!DOCTYPE configuration [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>" + body),
      "not accepted");
  assert_contains(
      error_of("<!DOCTYPE configuration [<!ENTITY % p SYSTEM \"http://x/\">%p;]>" + body),
      "not accepted");
  assert_text(error_of("<!DOCTYPE configuration SYSTEM \"http://x/x.dtd\">" + body),
              "f.xml:1: entity 'e' is not defined");
  assert_contains(error_of(body), "undefined entity");
  assert_text(error_of("<!DOCTYPE configuration>" + site(property("a", "&lt;&#65;"))), "");
}

void encodings(void**) {
  auto utf16 = [](std::string_view ascii, bool big_endian) {
    std::string out = big_endian ? "\xfe\xff" : "\xff\xfe";
    for (const char c : ascii) {
      if (big_endian) out += '\0';
      out += c;
      if (!big_endian) out += '\0';
    }
    return out;
  };
  const std::string plain = site(property("a", "v"));
  for (const std::string& xml : {utf16(plain, false), utf16(plain, true), "\xef\xbb\xbf" + plain,
                                 "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" + plain}) {
    auto parsed = hadoop::parse_site_xml(xml, "f.xml", ".");
    assert_true(parsed.ok());
    assert_text(parsed->at(0).value, "v");
  }
  auto latin = hadoop::parse_site_xml(
      "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" + site(property("a", "\xe9")), "f.xml",
      ".");
  assert_true(latin.ok());
  assert_text(latin->at(0).value, "é");
  assert_contains(error_of(site(property("a", "\xff\xfe"))), "not well-formed");
  assert_contains(error_of(site(property("a", std::string("\0", 1)))), "f.xml:1:");
  assert_contains(error_of("<?xml version=\"1.0\" encoding=\"EBCDIC-9\"?>" + plain),
                  "unknown encoding");
}

void includes_of_what_is_no_local_file(void**) {
  TempDir dir;
  dir.write("in.xml", site(property("a", "1")));
  auto include = [](const std::string& href) {
    return site("<xi:include href=\"" + href + "\"><xi:fallback/></xi:include>", kXi);
  };
  for (const char* href : {"http://localhost/x.xml", "https://h/x", "ftp://h/x", "jar:file:/x!/y",
                           "file://host/x.xml", "file:x.xml", "file://"})
    assert_contains(error_of(include(href), dir.path()), "only local files can be included");
  assert_contains(error_of(include(""), dir.path()), "an include without href");
  assert_contains(error_of(include("."), dir.path()), "is not a regular file");
  assert_contains(error_of(include("/dev/zero"), dir.path()), "is not a regular file");
  assert_int_equal(mkfifo(dir.path("pipe").c_str(), 0600), 0);
  assert_contains(error_of(include("pipe"), dir.path()), "is not a regular file");
  for (const std::string& href : {"file://" + dir.path("in.xml"), "file:" + dir.path("i%6e.xml"),
                                  "file://localhost" + dir.path("in.xml"), dir.path("in.xml")})
    assert_text(error_of(include(href), dir.path()), "");
}

void circles_depth_and_number_of_includes(void**) {
  TempDir dir;
  auto include = [](const std::string& href) { return "<include href=\"" + href + "\"/>"; };
  dir.write("self.xml", site("\n" + include("self.xml")));
  auto read = hadoop::read_site_xml(dir.path("self.xml"));
  assert_false(read.ok());
  assert_text(read.error().message,
              dir.path("self.xml") + ":2: the file " + dir.path("self.xml") + " includes itself");
  dir.write("a.xml", site(include("b.xml")));
  dir.write("b.xml", site(include("./a.xml")));
  assert_contains(hadoop::read_site_xml(dir.path("a.xml")).error().message, "includes itself");

  for (int i = 1; i < 17; ++i)
    dir.write("d" + std::to_string(i) + ".xml",
              site(include("d" + std::to_string(i + 1) + ".xml")));
  dir.write("d17.xml", site(property("deep", "1")));
  assert_contains(hadoop::read_site_xml(dir.path("d1.xml")).error().message,
                  "includes nested deeper than 16 files");
  read = hadoop::read_site_xml(dir.path("d2.xml"));
  assert_true(read.ok());
  assert_text(read->at(0).name, "deep");

  for (int i = 0; i < 10; ++i) {
    const std::string next = include("w" + std::to_string(i + 1) + ".xml");
    dir.write("w" + std::to_string(i) + ".xml", site(next + next));
  }
  dir.write("w10.xml", site(""));
  assert_contains(hadoop::read_site_xml(dir.path("w0.xml")).error().message, "more than 256 files");
}

void huge_files(void**) {
  TempDir dir;
  const std::string filler(16 * 1024 * 1024, ' ');
  dir.write("huge.xml", "<configuration>" + filler + "</configuration>");
  assert_contains(hadoop::read_site_xml(dir.path("huge.xml")).error().message,
                  "is larger than 16 MiB");
  assert_contains(error_of(filler + " "), "is larger than 16 MiB");
  std::string deep = "<configuration>";
  for (int i = 0; i < 200000; ++i) deep += "<a>";
  assert_contains(error_of(deep), "no element found");
  std::string many = "<configuration>";
  for (int i = 0; i < 50000; ++i) many += property("p" + std::to_string(i), "${p0}");
  auto parsed = hadoop::parse_site_xml(many + "</configuration>", "f.xml", ".");
  assert_true(parsed.ok());
  assert_int_equal(parsed->size(), 50000);
}

void variables(void**) {
  assert_text(hadoop::first_variable("a${b}c${d}"), "b");
  assert_text(hadoop::first_variable("${ b}${c}"), "c");
  for (const char* text : {"", "$", "${", "${}", "{b}", "$ {b}", "${b", "${a b}"})
    assert_text(hadoop::first_variable(text), "");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(expansion_as_in_hadoop),
      cmocka_unit_test(files_as_in_hadoop),
      cmocka_unit_test(later_files_win_unless_final),
      cmocka_unit_test(override_beats_final_before_and_after),
      cmocka_unit_test(empty_value_says_nothing),
      cmocka_unit_test(what_hadoop_passes_over_is_warned_of),
      cmocka_unit_test(typed_values),
      cmocka_unit_test(environment_of_the_process),
      cmocka_unit_test(errors_name_file_line_and_column),
      cmocka_unit_test(entities_are_refused),
      cmocka_unit_test(encodings),
      cmocka_unit_test(includes_of_what_is_no_local_file),
      cmocka_unit_test(circles_depth_and_number_of_includes),
      cmocka_unit_test(huge_files),
      cmocka_unit_test(variables),
  };
  return cmocka_run_group_tests_name("configuration", tests, nullptr, nullptr);
}
