// SPDX-License-Identifier: Apache-2.0
// Metadata JSON by the rules of Gson 2.9's strict reader and of its writer (jceks.md (c)).
#include <random>

#include "jceks_util.h"
#include "keystore/jceks/gson.h"
#include "keystore/jceks/modified_utf8.h"

using namespace kms;
using namespace kms::jceks;
using unit::assert_text;

namespace {

bool readable(std::string_view json) {
  return parse_metadata(as_bytes(json)).ok();
}

StoredMetadata read(std::string_view json) {
  auto parsed = parse_metadata(as_bytes(json));
  if (!parsed.ok()) _fail(std::string(json).c_str(), 0);
  return std::move(*parsed);
}

void reads_what_hadoop_writes(void**) {
  const auto m = read(
      R"({"cipher":"AES/CTR/NoPadding","bitLength":256,"created":1795521760180,"description":"d \"q\"",)"
      R"("attributes":{"key.acl.name":"x","b":"2"},"versions":3})");
  assert_text(*m.cipher, "AES/CTR/NoPadding");
  assert_int_equal(m.bit_length, 256);
  assert_true(m.created_ms == 1795521760180);
  assert_text(*m.description, "d \"q\"");
  assert_int_equal(m.attributes.size(), 2);
  assert_int_equal(m.versions, 3);
  const KeyMetadata shown = m.to_metadata("k");
  assert_text(shown.name, "k");
  assert_text(shown.attributes.at("key.acl.name"), "x");
}

void empty_object_is_valid(void**) {
  const auto m = read("{}");
  assert_false(m.cipher.has_value());
  assert_false(m.created_ms.has_value());
  assert_int_equal(m.bit_length, 0);
  assert_int_equal(m.versions, 0);
  assert_text(write_metadata(m), R"({"versions":0})");
  assert_true(read(R"({"attributes":{}})").attributes.empty());
}

void order_and_repetition(void**) {
  assert_int_equal(read(R"({"versions":1,"versions":2})").versions, 2);
  const auto m = read(R"({"attributes":{"a":"1"},"AttriButes":{"b":"1","c":"2","b":"3"}})");
  assert_int_equal(m.attributes.size(), 2);
  assert_text(m.attributes[0].second, "3");
  // String.equalsIgnoreCase folds these three, too.
  assert_int_equal(read("{\"attr\xC4\xB1"
                        "bute\xC5\xBF\":{\"a\":\"1\"}}")
                       .attributes.size(),
                   1);
  assert_int_equal(read("{\"ATTR\xC4\xB0"
                        "BUTES\":{\"a\":\"1\"}}")
                       .attributes.size(),
                   1);
  assert_false(readable(R"({"Versions":1})"));
}

void numbers_and_strings_mix(void**) {
  for (const char* json :
       {R"({"bitLength":128})", R"({"bitLength":"128"})", R"({"bitLength":128.0})",
        R"({"bitLength":1.28e2})", R"({"bitLength":" 128 "})", R"({"bitLength":"+128"})",
        R"({"bitLength":"128d"})", R"({"bitLength":"0x80p0"})", R"({"bitLength":"1280e-1"})"})
    assert_int_equal(read(json).bit_length, 128);
  assert_int_equal(read(R"({"bitLength":-0})").bit_length, 0);
  assert_int_equal(read(R"({"bitLength":-2147483648})").bit_length, INT32_MIN);
  assert_text(*read(R"({"cipher":128})").cipher, "128");
  assert_text(*read(R"({"cipher":-1.50E+3})").cipher, "-1.50E+3");
  assert_text(read(R"({"attributes":{"a":7}})").attributes[0].second, "7");
  assert_true(read(R"({"created":"9223372036854775807"})").created_ms == INT64_MAX);
  assert_true(read(R"({"created":9223372036854775808})").created_ms == INT64_MAX);
  assert_true(read(R"({"created":1e3})").created_ms == 1000);
  for (const char* json :
       {R"({"bitLength":1.5})", R"({"bitLength":2147483648})", R"({"bitLength":"abc"})",
        R"({"bitLength":""})", R"({"bitLength":"NaN"})", R"({"bitLength":"Infinity"})",
        R"({"bitLength":"inf"})", R"({"bitLength":"0x80"})", R"({"bitLength":"--1"})",
        R"({"bitLength":01})", R"({"bitLength":1.})", R"({"bitLength":.5})", R"({"bitLength":1e})",
        R"({"bitLength":+1})", R"({"bitLength":-})", R"({"bitLength":12x})", R"({"bitLength":12/})",
        R"({"created":1e30})", R"({"created":99999999999999999999})"})
    assert_false(readable(json));
  // A number that fills Gson's buffer is none.
  assert_true(readable("{\"cipher\":" + std::string(1023, '1') + "}"));
  assert_false(readable("{\"cipher\":" + std::string(1024, '1') + "}"));
}

void what_gson_refuses(void**) {
  for (const char* json : {"",
                           " ",
                           "{",
                           "[]",
                           "null",
                           "1",
                           R"("a")",
                           R"({"cipher":null})",
                           R"({"description":null})",
                           R"({"attributes":null})",
                           R"({"attributes":{"a":null}})",
                           R"({"attributes":[]})",
                           R"({"attributes":{"a":{}}})",
                           R"({"description":true})",
                           R"({"description":{}})",
                           R"({"cipher":FALSE})",
                           R"({"other":1})",
                           R"({"versions":1,"x":"y"})",
                           R"({'versions':1})",
                           R"({"description":'x'})",
                           R"({"versions":1)",
                           R"({"versions":1,})",
                           R"({,})",
                           R"({"versions" 1})",
                           R"({"versions"=1})",
                           R"({"versions":1;"bitLength":1})",
                           R"({versions:1})",
                           R"({"description":"x)",
                           R"({"description":"\q"})",
                           R"({"description":"\u12g4"})",
                           R"({"description":"\u12)",
                           "/*c*/{}",
                           "#c\n{}",
                           "{\"versions\":1 // c\n}",
                           R"({"description":"a" "b"})",
                           "\xEF\xBB\xBF\xEF\xBB\xBF{}",
                           ")]}'\n{}"})
    assert_false(readable(json));
}

void what_gson_ignores(void**) {
  assert_true(readable("\xEF\xBB\xBF{}"));
  assert_true(readable("{}garbage"));
  assert_true(readable("{}{"));
  assert_true(readable(" \t\r\n{ \"versions\" : 1 , \"bitLength\" : 2 } "));
  // Control characters in a string, raw.
  assert_text(*read("{\"description\":\"a\tb\nc\x01\"}").description, "a\tb\nc\x01");
}

void escapes(void**) {
  assert_text(*read(R"({"description":"\"\\\/\b\f\n\r\t\'\u0041\u00e9\u20ac"})").description,
              "\"\\/\b\f\n\r\t'A\xC3\xA9\xE2\x82\xAC");
  assert_text(*read("{\"description\":\"a\\\nb\"}").description, "a\nb");
  assert_text(*read(R"({"description":"\ud83d\udd11"})").description, "\xF0\x9F\x94\x91");
  // Unpaired surrogates cannot leave Java as UTF-8.
  assert_text(*read(R"({"description":"a\ud83d"})").description, "a?");
  assert_text(*read(R"({"description":"\udd11\ud83dx\ud83d\ud83d\udd11"})").description,
              "??x?\xF0\x9F\x94\x91");
  assert_text(*read("{\"description\":\"\xFF\xC3(\xED\xA0\xBD\"}").description,
              "\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD");
}

void writes_as_gson(void**) {
  StoredMetadata m;
  m.cipher = "AES/CTR/NoPadding";
  m.bit_length = 128;
  m.created_ms = 1795521688629;
  m.versions = 1;
  assert_text(
      write_metadata(m),
      R"({"cipher":"AES/CTR/NoPadding","bitLength":128,"created":1795521688629,"versions":1})");
  m.description = "";
  m.attributes = {
      {"k", "\"\\\t\b\n\r\f\x01\x1f</&'=\x7f\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAA\xF0\x9F\x94\x91"}};
  assert_text(
      write_metadata(m),
      "{\"cipher\":\"AES/CTR/NoPadding\",\"bitLength\":128,\"created\":1795521688629,"
      "\"description\":\"\",\"attributes\":{\"k\":\"\\\"\\\\\\t\\b\\n\\r\\f\\u0001\\u001f</&'="
      "\x7f\\u2028\\u2029\xE2\x80\xAA\xF0\x9F\x94\x91\"},\"versions\":1}");
}

void random_round_trips(void**) {
  std::mt19937 random(11);
  auto text = [&random] {
    std::string out;
    for (int n = static_cast<int>(random() % 12); n > 0; --n) {
      static constexpr char32_t kTops[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
      const char32_t c = random() % (kTops[random() % 4] + 1);
      if (c < 0xD800 || c > 0xDFFF) append_utf8(out, c);
    }
    return out;
  };
  for (int i = 0; i < 2000; ++i) {
    StoredMetadata m;
    if (random() % 4 != 0) m.cipher = text();
    if (random() % 4 != 0) m.description = text();
    if (random() % 4 != 0) m.created_ms = static_cast<std::int64_t>(random()) * 4096 - 7;
    m.bit_length = static_cast<std::int32_t>(random());
    m.versions = static_cast<std::int32_t>(random());
    for (int n = static_cast<int>(random() % 4); n > 0; --n) {
      std::string name = text() + std::to_string(n);
      m.attributes.emplace_back(std::move(name), text());
    }
    const std::string json = write_metadata(m);
    assert_text(write_metadata(read(json)), json);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(reads_what_hadoop_writes),
      cmocka_unit_test(empty_object_is_valid),
      cmocka_unit_test(order_and_repetition),
      cmocka_unit_test(numbers_and_strings_mix),
      cmocka_unit_test(what_gson_refuses),
      cmocka_unit_test(what_gson_ignores),
      cmocka_unit_test(escapes),
      cmocka_unit_test(writes_as_gson),
      cmocka_unit_test(random_round_trips),
  };
  return cmocka_run_group_tests_name("jceks gson", tests, nullptr, nullptr);
}
