// SPDX-License-Identifier: Apache-2.0
// What each state allows, and which way leads to which.
#include "keystore/key_state.h"

#include <set>
#include <string>
#include <utility>

#include "unit.h"

namespace {

using namespace kms;
using enum KeyState;

constexpr KeyState kAll[] = {pre_active, active, suspended, deactivated, compromised};

void names_go_both_ways(void**) {
  for (const KeyState state : kAll) assert_true(key_state_of(key_state_name(state)) == state);
  for (const char* none : {"", "Active", "destroyed", "preactive", "active "})
    assert_false(key_state_of(none).has_value());
}

void what_is_allowed(void**) {
  struct Row {
    KeyState state;
    bool protect, process, roll;
  };
  constexpr Row rows[] = {{pre_active, false, false, true},
                          {active, true, true, true},
                          {suspended, false, false, true},
                          {deactivated, false, true, false},
                          {compromised, false, true, false}};
  for (const Row& row : rows) {
    assert_int_equal(check_key_use("k", row.state, KeyUse::protect).ok(), row.protect);
    assert_int_equal(check_key_use("k", row.state, KeyUse::process).ok(), row.process);
    assert_int_equal(check_key_use("k", row.state, KeyUse::roll).ok(), row.roll);
  }
  const auto refused = check_key_use("payroll", suspended, KeyUse::process);
  assert_true(refused.error().kind == ErrorKind::key_state);
  unit::assert_text(refused.error().message,
                    "Key 'payroll' is suspended: it neither encrypts nor decrypts for now");
}

void which_way_leads_where(void**) {
  const std::set<std::pair<KeyState, KeyState>> ways = {
      {pre_active, active},     {pre_active, compromised}, {active, suspended},
      {active, deactivated},    {active, compromised},     {suspended, active},
      {suspended, deactivated}, {suspended, compromised},  {deactivated, compromised}};
  for (const KeyState from : kAll)
    for (const KeyState to : kAll) {
      const auto checked = check_key_transition("k", from, to);
      assert_int_equal(checked.ok(), from == to || ways.contains({from, to}));
      if (!checked.ok()) assert_true(checked.error().kind == ErrorKind::invalid_argument);
    }
  unit::assert_text(
      check_key_transition("k", deactivated, active).error().message,
      "Key 'k' is deactivated and cannot become active; only compromised, or deleted");
  unit::assert_text(check_key_transition("k", compromised, active).error().message,
                    "Key 'k' is compromised and cannot become active; only deleted");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(names_go_both_ways),
      cmocka_unit_test(what_is_allowed),
      cmocka_unit_test(which_way_leads_where),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
