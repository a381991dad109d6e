// SPDX-License-Identifier: Apache-2.0
// States of keys in a store in PostgreSQL.
#include "keystore/migrate.h"
#include "trustee_node.h"

namespace {

using namespace kms;
using unit::aes;
using unit::good;
using unit::Node;
using unit::server;

KeyState state_of(Node& node, const std::string& name) {
  return good(node->metadata(name))->state;
}

KeyOptions waiting() {
  KeyOptions options = aes();
  options.state = KeyState::pre_active;
  return options;
}

void a_key_goes_through_its_life(void**) {
  Node one, two;
  good(one->create("life", waiting(), nullptr));
  assert_true(state_of(one, "life") == KeyState::pre_active);
  assert_true(state_of(two, "life") == KeyState::pre_active);
  for (const KeyState next :
       {KeyState::active, KeyState::suspended, KeyState::active, KeyState::deactivated}) {
    good(one->set_state("Life", next, {}));
    assert_true(state_of(one, "life") == next);
    assert_true(unit::eventually([&] { return state_of(two, "life") == next; }, 5000));
  }
  const auto back = two->set_state("life", KeyState::active, {});
  assert_true(back.error().kind == ErrorKind::invalid_argument);
  good(two->set_state("life", KeyState::compromised, {}));
  assert_false(two->set_state("life", KeyState::deactivated, {}).ok());
  good(two->set_state("life", KeyState::compromised, {}));  // it is that already
  assert_true(two->set_state("nobody", KeyState::active, {}).error().kind == ErrorKind::io);
  const auto names = good(two->names());
  assert_true(std::find(names.begin(), names.end(), "life") != names.end());
}

void a_roll_goes_by_the_state(void**) {
  Node node;
  good(node->create("rolled", waiting(), nullptr));
  good(node->roll("rolled", nullptr, {}));
  good(node->set_state("rolled", KeyState::active, {}));
  good(node->set_state("rolled", KeyState::suspended, {}));
  good(node->roll("rolled", nullptr, {}));
  assert_true(state_of(node, "rolled") == KeyState::suspended);
  good(node->set_state("rolled", KeyState::deactivated, {}));
  assert_true(node->roll("rolled", nullptr, {}).error().kind == ErrorKind::key_state);
  assert_int_equal(good(node->metadata("rolled"))->versions, 3);
}

// No key goes to another state without the caller's word, nor where that is not to be had.
void the_caller_has_the_last_word(void**) {
  Node node;
  good(node->create("asked", aes(), nullptr));
  int asked = 0;
  const auto refuse = [&](const KeyVersion*) -> Result<void> {
    ++asked;
    return Error(ErrorKind::unavailable, "no audit log");
  };
  assert_false(node->set_state("asked", KeyState::suspended, refuse).ok());
  assert_int_equal(asked, 1);
  assert_true(state_of(node, "asked") == KeyState::active);
  // A way that there is not is not even asked for.
  assert_false(node->set_state("asked", KeyState::pre_active, refuse).ok());
  assert_int_equal(asked, 1);
}

void a_deleted_key_comes_back_as_it_was(void**) {
  Node node;
  good(node->create("gone", aes(), nullptr));
  good(node->set_state("gone", KeyState::suspended, {}));
  good(node->remove("gone", {}));
  assert_false(node->set_state("gone", KeyState::active, {}).ok());
  good(node->undelete("gone", {}));
  assert_true(state_of(node, "gone") == KeyState::suspended);
}

void an_edited_state_is_refused(void**) {
  Node node;
  for (const std::string state : {"active", "destroyed"}) {
    const std::string name = "edited-" + state;
    good(node->create(name, aes(), nullptr));
    good(node->set_state(name, KeyState::suspended, {}));
    server->run("UPDATE kms_key SET state = '" + state + "' WHERE name = '" + name + "'");
    good(node->invalidate(name));
    assert_true(node->metadata(name).error().kind == ErrorKind::corrupt);
    assert_false(node->current_version(name).ok());
    assert_false(node->set_state(name, KeyState::active, {}).ok());
    unit::forget(node, name);
  }
}

// Two nodes at the same moment: every change follows a way that there is.
void nodes_that_race_keep_to_the_ways(void**) {
  Node one, two;
  for (int round = 0; round < 10; ++round) {
    const std::string name = "race" + std::to_string(round);
    good(one->create(name, aes(), nullptr));
    std::atomic<int> won{0};
    std::thread other([&] { won += two->set_state(name, KeyState::deactivated, {}).ok() ? 1 : 0; });
    const bool suspended = one->set_state(name, KeyState::suspended, {}).ok();
    other.join();
    // Suspended may become deactivated, and not the other way.
    assert_int_equal(won.load(), 1);
    good(one->invalidate(name));
    assert_true(state_of(one, name) == KeyState::deactivated || !suspended);
  }
}

void an_import_takes_the_state_along(void**) {
  Node node;
  good(node->create("source", aes(), nullptr));
  good(node->set_state("source", KeyState::deactivated, {}));
  KeyMetadata copy = *good(node->metadata("source"));
  auto versions = good(node->versions("source"));
  copy.name = "copied";
  std::vector<VersionPtr> renamed;
  for (const VersionPtr& each : versions)
    renamed.push_back(std::make_shared<const KeyVersion>(
        KeyVersion{"copied", "copied@0", each->material.clone()}));
  good(node->import_key(copy, renamed));
  assert_true(state_of(node, "copied") == KeyState::deactivated);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_key_goes_through_its_life),
      cmocka_unit_test(a_roll_goes_by_the_state),
      cmocka_unit_test(the_caller_has_the_last_word),
      cmocka_unit_test(a_deleted_key_comes_back_as_it_was),
      cmocka_unit_test(an_edited_state_is_refused),
      cmocka_unit_test(nodes_that_race_keep_to_the_ways),
      cmocka_unit_test(an_import_takes_the_state_along),
  };
  return unit::run_on_a_store(tests);
}
