// SPDX-License-Identifier: Apache-2.0
// The status page: whatever names people choose, they stay text.
#include <string>

#include "pages/html.h"
#include "pages/status_html.h"
#include "unit.h"

using namespace kms;
using unit::assert_text;

namespace {

std::size_t count_of(const std::string& page, std::string_view what) {
  std::size_t count = 0;
  for (auto at = page.find(what); at != std::string::npos; at = page.find(what, at + 1)) ++count;
  return count;
}

void text_cannot_leave_its_place(void**) {
  assert_text(html::escaped("<script>alert('x')</script> & \"q\""),
              "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;q&quot;");
  assert_text(html::escaped("a\n\t\r\x01\x7f z"),
              "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd z");
  assert_text(html::escaped("\xe2\x80\xaegnp.exe \xd7\x9e"), "\\u202egnp.exe \xd7\x9e");
  assert_text(html::escaped("\xc3\xa9 \xff \xed\xa0\x80"), "\xc3\xa9 \xef\xbf\xbd \xef\xbf\xbd");
  assert_text(html::name("x"), "<bdi class=\"name\">x</bdi>");
  const std::string cut = html::name(std::string(5000, '<'), 10);
  assert_int_equal(count_of(cut, "&lt;"), 10);
  assert_true(cut.find("(5000 bytes)") != std::string::npos);
}

void numbers_and_times(void**) {
  assert_text(html::number(0), "0");
  assert_text(html::number(999), "999");
  assert_text(html::number(1234567), "1,234,567");
  assert_text(html::span(-5), "0 s");
  assert_text(html::span(61'000), "1 min 1 s");
  assert_text(html::span(3'600'000), "1 h");
  assert_text(html::span(90'000'000), "1 d 1 h");
  assert_text(html::time(0), "\xe2\x80\x93");
  assert_text(html::time(1'000),
              "<time datetime=\"1970-01-01T00:00:01Z\">1970-01-01 00:00:01 UTC</time>");
}

void bars_are_whole(void**) {
  const std::string drawn = html::bars({{0, "none"}, {1, "\"one\""}, {1'000'000, "many"}}, "<l>");
  assert_int_equal(count_of(drawn, "class=\"bar\""), 2);  // the smallest still shows
  assert_int_equal(count_of(drawn, "height=\"0\""), 0);
  assert_true(drawn.find("&quot;one&quot;") != std::string::npos);
  assert_true(drawn.find("<l>") == std::string::npos);
}

StatusModel hostile_model() {
  const std::string evil = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>\xe2\x80\xae";
  StatusModel m;
  m.now_ms = 1'764'000'000'000;
  m.host = m.user = m.software = m.keystore_uri = m.audit_target = evil;
  m.components.push_back({evil, evil, {HealthState::failing, 1, "text"}, evil});
  m.tls = true;
  m.certificates.push_back({evil, evil, evil, 0});
  auto metadata = std::make_shared<KeyMetadata>();
  metadata->cipher = evil;
  metadata->versions = -1;
  m.keys.push_back({evil, metadata, false});
  m.keys.push_back({evil, nullptr, true});
  m.key_count = 3;
  m.keystore_problem = "";
  m.operations.push_back({evil, 1, 2, 5, 3, 4, 1.5, 2, 3, {{5, 1}, {6, 0}}});
  m.audit.ok = false;
  m.audit.last_error = evil;
  m.denials.push_back({1, AuditStatus::unauthorized, evil, evil, evil, evil, evil});
  return m;
}

void a_hostile_page(void**) {
  const std::string page = status_page(hostile_model());
  assert_int_equal(count_of(page, "<script"), 0);
  assert_int_equal(count_of(page, "<img"), 0);
  assert_int_equal(count_of(page, " style="), 0);  // the policy would stop it
  assert_true(count_of(page, "&lt;script&gt;") >= 18);
  assert_int_equal(count_of(page, "<table"), count_of(page, "</table>"));
  assert_int_equal(count_of(page, "<bdi"), count_of(page, "</bdi>"));
  assert_int_equal(count_of(page, "http://") + count_of(page, "https://"), 0);
  assert_int_equal(count_of(page, "http-equiv=\"refresh\""), 0);
}

void an_empty_page(void**) {
  StatusModel m;
  m.refresh_s = 10;
  m.audit_target = "x";
  const std::string page = status_page(m);
  for (const char* said :
       {"There are no keys.", "Neither limits nor alarms", "None since the start.",
        "No TLS in this server.", "http-equiv=\"refresh\" content=\"10\""})
    assert_true(page.find(said) != std::string::npos);
  m.keystore_problem = "gone & away";
  assert_true(status_page(m).find("gone &amp; away") != std::string::npos);
}

void the_policy_names_the_style(void**) {
  const std::string policy = status_policy();
  assert_true(policy.starts_with("default-src 'none'; style-src 'sha256-"));
  assert_true(policy.find("unsafe") == std::string::npos);
  assert_true(policy.find('\n') == std::string::npos);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(text_cannot_leave_its_place),
      cmocka_unit_test(numbers_and_times),
      cmocka_unit_test(bars_are_whole),
      cmocka_unit_test(a_hostile_page),
      cmocka_unit_test(an_empty_page),
      cmocka_unit_test(the_policy_names_the_style),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
