// SPDX-License-Identifier: Apache-2.0
// Paths, queries, media types and bodies of kms-rest.md 1.1, 1.2, 1.4, 1.8; the wire JSON.
#include <cstring>
#include "hadoop/exceptions.h"
#include "hadoop/wire_json.h"
#include "rest/media.h"
#include "rest/path.h"
#include "rest/query.h"
#include "rest/routes.h"

#include "unit.h"

using namespace kms;
using namespace kms::rest;

namespace {

void expect_path(const char* path, Resource resource, const char* name) {
  auto match = match_path(path);
  if (!match.ok() || !match->has_value()) _fail(path, __LINE__);
  if ((*match)->resource != resource) _fail(path, __LINE__);
  unit::assert_text((*match)->name, name);
}

void expect_no_path(const char* path) {
  auto match = match_path(path);
  if (!match.ok() || match->has_value()) _fail(path, __LINE__);
}

void paths(void**) {
  expect_path("/kms/v1", Resource::root, "");
  expect_path("/kms/v1/", Resource::root, "");
  expect_path("/kms/v1/keys", Resource::keys, "");
  expect_path("/kms/v1/keys/", Resource::keys, "");
  expect_path("/kms/v1/keys/names/", Resource::key_names, "");
  expect_path("/kms/v1/keys/metadata", Resource::keys_metadata, "");
  expect_path("/kms/v1/key/x", Resource::key, "x");
  expect_path("/kms/v1/key/x/", Resource::key, "x/");
  expect_path("/kms/v1/key/", Resource::key, "");
  expect_path("/kms/v1/key//_metadata", Resource::key_metadata, "");
  expect_path("/kms/v1/key/x/_metadata", Resource::key_metadata, "x");
  expect_path("/kms/v1/key/x/_metadata/", Resource::key_metadata, "x");
  expect_path("/kms/v1/key/x/_Metadata", Resource::key, "x/_Metadata");
  expect_path("/kms/v1/key/x/_foo", Resource::key, "x/_foo");
  expect_path("/kms/v1/key/_metadata", Resource::key, "_metadata");
  expect_path("/kms/v1/key/a/b/_eek", Resource::key_eek, "a/b");
  expect_path("/kms/v1/key/a%2Fb/_versions", Resource::key_versions, "a/b");
  expect_path("/kms/v1/key/a%2F_metadata", Resource::key, "a/_metadata");
  expect_path("/kms/v1/key/a+b%20c/_currentversion", Resource::current_version, "a+b c");
  expect_path("/kms/v1/key/x;a=b/_metadata", Resource::key_metadata, "x");
  expect_path("/kms/v1/key/x%3Ba/_invalidatecache", Resource::invalidate_cache, "x;a");
  expect_path("/kms/v1/key/x/_reencryptbatch", Resource::reencrypt_batch, "x");
  expect_path("/kms/v1/key/m%C3%A9%2541", Resource::key, "m\xC3\xA9%41");
  expect_path("/kms/v1/keyversion/x%400", Resource::key_version, "x@0");
  expect_path("/kms/v1/keyversion/x@0/_eek", Resource::key_version_eek, "x@0");
  expect_path("/kms/v1/keyversion/x@0/_metadata", Resource::key_version, "x@0/_metadata");
  expect_path("/kms/v1/keyversion/", Resource::key_version, "");
  expect_path("/kms/v1/trustee/keys", Resource::trustee_keys, "");
  expect_path("/kms/v1/trustee/key/a%2Fb", Resource::trustee_key, "a/b");
  expect_path("/kms/v1/trustee/key/x/_metadata", Resource::trustee_key, "x/_metadata");
  expect_path("/kms/v1/trustee/key/", Resource::trustee_key, "");
  for (const char* path :
       {"/kms/v1/trustee", "/kms/v1/trustee/key", "/kms", "/kms/", "/kms/v2/keys", "/kms/V1/keys", "/kms/v1/key", "/kms/v1/foo",
        "/kms//v1/keys", "/kms/v1/%6Beys", "/kms/v1/keys%2Fnames", "/kms/v1/keys//",
        "/kms/v1/keys/../keys/names", "", "/", "kms/v1/keys", "/kms/v1/keyversion"})
    expect_no_path(path);
  assert_false(match_path("/kms/v1/key/%ff").ok());
  assert_false(match_path("/kms/v1/key/a%00b").ok());
  assert_false(match_path("/kms/v1/key/%ED%A0%80").ok());
  expect_path("/kms/v1/key/%zz%4", Resource::key, "%zz%4");
}

void escaping(void**) {
  unit::assert_text(percent_encode("a/b c@1~\xC3\xA9"), "a%2Fb%20c%401~%C3%A9");
  unit::assert_text(percent_decode("a+b%2b", true), "a b+");
  unit::assert_text(percent_decode("a+b%2b", false), "a+b+");
}

void queries(void**) {
  const Query q("key=a+b&key=%61&KEY=x&empty=&bare&&DoAs=joe&x=1=2");
  assert_int_equal(q.all("key").size(), 2);
  unit::assert_text(q.all("key")[0], "a b");
  unit::assert_text(*q.first("empty"), "");
  unit::assert_text(*q.first("bare"), "");
  unit::assert_text(*q.first("x"), "1=2");
  assert_false(q.first("doAs").has_value());
  unit::assert_text(*q.first_any_case("doAs"), "joe");
  assert_false(q.first("none").has_value());
  unit::assert_text(masked_query("op=x&delegation=SECRET&to%6Ben=T&TOKEN=t&a=b"),
                    "op=x&delegation=...&to%6Ben=...&TOKEN=...&a=b");
}

void media_types(void**) {
  assert_true(check_content_type("application/json") == MediaCheck::json);
  assert_true(check_content_type("Application/JSON; charset=ISO-8859-1") == MediaCheck::json);
  assert_true(check_content_type(std::nullopt) == MediaCheck::missing);
  assert_true(check_content_type("") == MediaCheck::missing);
  assert_true(check_content_type("text/plain") == MediaCheck::missing);
  assert_true(check_content_type("application/json+x") == MediaCheck::other);
  assert_true(check_content_type("json") == MediaCheck::unparsable);
  assert_true(check_content_type("/") == MediaCheck::unparsable);
  for (const char* good : {"*/*", "application/*", "application/json", "text/html, */*; q=0.2",
                           "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
                           " , application/json", "application/json;q=0.5, text/html"})
    if (!accepts_json(good)) _fail(good, __LINE__);
  for (const char* bad :
       {"text/html", "application/xml", "garbage", "text/html, image/*", "a/b/c, */*"})
    if (accepts_json(bad)) _fail(bad, __LINE__);
  assert_true(accepts_json(std::nullopt));
}

ErrorKind body_error(std::string_view body, hadoop::JsonShape shape = hadoop::JsonShape::object) {
  auto parsed = hadoop::parse_json(body, shape);
  if (parsed.ok()) _fail("a bad body was taken", __LINE__);
  return parsed.error().kind;
}

void bodies(void**) {
  using hadoop::JsonShape;
  auto parsed =
      hadoop::parse_json("\xEF\xBB\xBF {\"a\":1,\"a\":\"two\"} trailing", JsonShape::object);
  assert_true(parsed.ok());
  unit::assert_text(hadoop::text_of(*hadoop::string_member(parsed->get(), "a")), "two");
  assert_true(hadoop::parse_json(" null ", JsonShape::array)->get() == nullptr);
  const std::string little("{\0\"\0a\0\"\0:\0\"\0\xE9\0\"\0}\0", 18);
  parsed = hadoop::parse_json(little, JsonShape::object);
  assert_true(parsed.ok());
  unit::assert_text(hadoop::text_of(*hadoop::string_member(parsed->get(), "a")), "\xC3\xA9");
  assert_true(body_error("") == ErrorKind::unexpected_json);
  assert_true(body_error(" \n") == ErrorKind::unexpected_json);
  assert_true(body_error("[]") == ErrorKind::unexpected_json);
  assert_true(body_error("{}", JsonShape::array) == ErrorKind::unexpected_json);
  assert_true(body_error("{'a':1}") == ErrorKind::malformed_json);
  assert_true(body_error("{\"a\":") == ErrorKind::malformed_json);
  assert_true(body_error("{\"a\":\"\xff\"}") == ErrorKind::malformed_json);
  assert_true(body_error(std::string(33, '[')) == ErrorKind::too_large);
  assert_true(body_error(std::string(2'000'000, '[')) == ErrorKind::too_large);
  std::string wide = "[0";
  for (int i = 0; i < 2'000'001; ++i) wide += ",0";
  assert_true(body_error(wide + "]", JsonShape::array) == ErrorKind::too_large);
  // Brackets inside strings do not count.
  assert_true(
      hadoop::parse_json("{\"a\":\"" + std::string(100, '[') + "\\\"\"}", JsonShape::object).ok());
}

void casts(void**) {
  auto parsed = hadoop::parse_json("{\"i\":1,\"l\":3000000000,\"d\":1.5,\"b\":true,\"n\":null}",
                                   hadoop::JsonShape::object);
  auto text = [&](const char* name) {
    auto member = hadoop::string_member(parsed->get(), name);
    return member.ok() ? std::string() : member.error().message;
  };
  assert_true(
      text("i").starts_with("class java.lang.Integer cannot be cast to class java.lang.String"));
  assert_true(text("l").starts_with("class java.lang.Long "));
  assert_true(text("d").starts_with("class java.lang.Double "));
  assert_true(text("b").starts_with("class java.lang.Boolean "));
  assert_true(*hadoop::string_member(parsed->get(), "n") == nullptr);
  assert_true(*hadoop::string_member(parsed->get(), "absent") == nullptr);
}

void error_bodies(void**) {
  unit::assert_text(
      hadoop::remote_exception_json(Error(ErrorKind::not_authorized, "no\nsecond line")),
      "{\n  \"RemoteException\": {\n    \"message\": \"no\",\n    \"exception\": "
      "\"AuthorizationException\",\n"
      "    \"javaClassName\": \"org.apache.hadoop.security.authorize.AuthorizationException\"\n  "
      "}\n}");
  const std::string inner =
      hadoop::remote_exception_json(Error::without_message(ErrorKind::invalid_query));
  assert_non_null(strstr(inner.c_str(), "\"message\": null"));
  assert_non_null(strstr(inner.c_str(), "\"exception\": \"QueryParamException\""));
  // Text that is not UTF-8 must not make the answer vanish.
  assert_non_null(strstr(hadoop::remote_exception_json(Error(ErrorKind::io, "a\xff z")).c_str(),
                         "a\xEF\xBF\xBD z"));
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::internal); ++kind) {
    const auto wire = hadoop::wire_error(static_cast<ErrorKind>(kind));
    assert_in_range(wire.status, 400, 503);
    assert_true(wire.java_class.find('.') != std::string_view::npos);
  }
}

void materials_are_put_in_place(void**) {
  const Bytes first = unit::from_hex("fbffbf"),
              second = unit::from_hex("00112233445566778899aabbccddeeff");
  const ByteView a(first), b(second);
  hadoop::JsonPtr list(json_array());
  // A name that looks like a member and its filler must not be taken for one.
  const char* tricky = "\"material\": \"....";
  json_array_append_new(list.get(), hadoop::key_version_json(tricky, "k@0", &a).release());
  json_array_append_new(list.get(), hadoop::key_version_json("k", "k@1", nullptr).release());
  json_array_append_new(list.get(), hadoop::key_version_json("k", "k@2", &b).release());
  const Secret text = hadoop::dump_with_materials(list.get(), {a, b});
  json_error_t error;
  hadoop::JsonPtr back(
      json_loadb(reinterpret_cast<const char*>(text.view().data()), text.size(), 0, &error));
  assert_non_null(back.get());
  auto member = [&](std::size_t i, const char* name) {
    return json_string_value(json_object_get(json_array_get(back.get(), i), name));
  };
  assert_string_equal(member(0, "material"), "-_-_");
  assert_string_equal(member(0, "name"), tricky);
  assert_true(json_is_null(json_object_get(json_array_get(back.get(), 1), "material")));
  assert_string_equal(member(2, "material"), "ABEiM0RVZneImaq7zN3u_w");
}

// Whatever the writer puts in place must be what jansson would have written as a whole.
void eek_lists_are_what_jansson_writes(void**) {
  for (const char* name : {"k", "a\"iv\": \"b", "\xC3\xA9/\\"}) {
    hadoop::EekListWriter writer(name);
    hadoop::JsonPtr whole(json_array());
    for (std::size_t i = 0; i < 40; ++i) {
      const Bytes iv(i % 3 == 0 ? 15 : 16, static_cast<std::uint8_t>(i * 7));
      const Bytes material(i % 5 == 0 ? 100 : i % 33, static_cast<std::uint8_t>(255 - i));
      const std::string version = version_name(name, static_cast<int>(i / 10));
      writer.add(i % 2 == 0, version, iv, material);
      json_array_append_new(whole.get(),
                            hadoop::eek_json(name, i % 2 == 0, version, iv, material).release());
    }
    unit::assert_text(std::move(writer).finish(), hadoop::dump_json(whole.get()));
  }
  unit::assert_text(hadoop::EekListWriter("k").finish(), "[]");
}

// Denying by default: every route of the API is in the table with an op ACL, and nothing twice.
void templates_lead_to_their_resource(void**) {
  for (const Route& route : routes()) {
    const std::string path = path_template(route.resource);
    const bool named = path.find('{') != std::string::npos;
    const bool version = path.find("{version}") != std::string::npos;
    expect_path(path.c_str(), route.resource, version ? "{version}" : named ? "{name}" : "");
  }
}

void route_table_is_whole(void**) {
  assert_int_equal(routes().size(), 18);
  for (const Route& a : routes()) {
    int same = 0;
    for (const Route& b : routes()) same += a.resource == b.resource && a.method == b.method;
    assert_int_equal(same, 1);
    assert_non_null(reinterpret_cast<void*>(a.select));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(paths),
      cmocka_unit_test(escaping),
      cmocka_unit_test(queries),
      cmocka_unit_test(media_types),
      cmocka_unit_test(bodies),
      cmocka_unit_test(casts),
      cmocka_unit_test(error_bodies),
      cmocka_unit_test(materials_are_put_in_place),
      cmocka_unit_test(eek_lists_are_what_jansson_writes),
      cmocka_unit_test(route_table_is_whole),
      cmocka_unit_test(templates_lead_to_their_resource),
  };
  return cmocka_run_group_tests_name("rest", tests, nullptr, nullptr);
}
