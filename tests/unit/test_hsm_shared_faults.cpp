// SPDX-License-Identifier: Apache-2.0
// Keys in a token with their metadata in PostgreSQL: what a crash between the two leaves, at each
// step, and who mends it; either side away.
#include <optional>
#include <random>

#include "hsm_shared_node.h"

using namespace kms;
using namespace kms::pkcs11;
using unit::aes_key;
using unit::apart;
using unit::assert_kind;
using unit::CuttingProxy;
using unit::end_of;
using unit::eventually;
using unit::need;
using unit::server;
using unit::SharedHsm;
using unit::SharedNode;
using Kind = Finding::Kind;

namespace {

const Approval kDie = [](const KeyVersion*) -> Result<void> { ::_exit(9); };

std::size_t noted() {
  unit::Node plain;
  return unit::notes(*plain->records());
}

// A node that comes two hours later.
void mend(const SharedHsm& hsm, std::optional<bool> says_so = {}) {
  {
    unit::Node plain;
    unit::age_notes(*plain->records());
  }
  SharedNode node(hsm);
  node->poll();
  if (says_so.has_value()) assert_true(node.lines.has("KMS0164") == *says_so);
  assert_int_equal(unit::notes(*node->records()), 0);
}

void forget_all(const SharedHsm& hsm) {
  {
    SharedNode node(hsm);
    for (const std::string& name : need(node->names())) need(node->remove(name));
    for (const DeletedKey& each : need(node->deleted_keys()))
      need(node->purge(each.metadata->name));
  }
  assert_true(hsm.findings().empty());
}

void death_between_object_and_version(void**) {
  SharedHsm hsm;
  assert_int_equal(end_of(apart([&] {
                     SharedNode node(hsm);
                     need(node->create("dies", aes_key(), nullptr));
                     (void)node->roll("dies", nullptr, kDie).ok();
                   })),
                   9);
  assert_int_equal(end_of(apart([&] {
                     SharedNode node(hsm);
                     (void)node->create("other", aes_key(), nullptr, kDie).ok();
                   })),
                   9);
  assert_int_equal(hsm.count(Kind::pending), 2);
  {
    // Whoever makes it might be alive still.
    SharedNode node(hsm);
    node->poll();
    assert_int_equal(unit::notes(*node->records()), 2);
    assert_int_equal(need(node->metadata("dies"))->versions, 1);
  }
  mend(hsm, true);
  assert_int_equal(hsm.count(Kind::good), 1);
  hsm.assert_clean();
  {
    SharedNode node(hsm);
    need(node->create("other", aes_key(), nullptr));
    need(node->roll("dies", nullptr));
  }
  forget_all(hsm);
}

void death_before_the_object(void**) {
  SharedHsm hsm;
  hsm.fault("hold");
  const pid_t child = apart([&] {
    SharedNode node(hsm);
    (void)node->create("held", aes_key(), nullptr).ok();
  });
  assert_true(eventually([] { return noted() == 1; }));
  ::kill(child, SIGKILL);
  assert_int_equal(end_of(child), 128 + SIGKILL);
  hsm.heal("hold");
  assert_true(hsm.findings().empty());
  mend(hsm, false);
}

// A note is not taken away because of an object that this process does not see.
void death_elsewhere_unseen_here(void**) {
  SharedHsm hsm;
  int pipes[2];
  assert_int_equal(::pipe(pipes), 0);
  const pid_t child = apart([&] {
    char go = 0;
    assert_int_equal(::read(pipes[0], &go, 1), 1);
    SharedNode node(hsm);
    (void)node->create("unseen", aes_key(), nullptr, kDie).ok();
  });
  SharedNode node(hsm);
  {
    const unit::Aside aside(hsm);
    assert_int_equal(::write(pipes[1], ".", 1), 1);
    assert_int_equal(end_of(child), 9);
    aside.change();
  }
  unit::age_notes(*node->records());
  node->poll();
  assert_true(node.lines.has("KMS0164"));
  assert_int_equal(unit::notes(*node->records()), 0);
  node->detach();
  for (const auto& each : hsm.findings()) assert_true(each.kind == Kind::foreign);
  for (const int fd : pipes) ::close(fd);
}

void death_after_the_purge(void**) {
  SharedHsm hsm;
  {
    SharedNode node(hsm);
    need(node->create("purged", aes_key(), nullptr));
    need(node->roll("purged", nullptr));
    need(node->remove("purged"));
  }
  // Before the rows are gone: nothing has changed.
  assert_int_equal(end_of(apart([&] {
                     SharedNode node(hsm);
                     (void)node->purge("purged", kDie).ok();
                   })),
                   9);
  assert_int_equal(noted(), 0);
  assert_int_equal(hsm.count(Kind::good), 2);
  // After it: the token does not answer any more when the objects are to be destroyed.
  {
    unit::Lines lines;
    auto base = need(open_trustee_store(
        server->uri(), server->options(), lines, false, [](KeyVersion sealed, std::int32_t) {
          sealed.material = Secret();
          return Result<VersionPtr>(std::make_shared<KeyVersion>(std::move(sealed)));
        }));
    need(base->attach());
    need(base->purge("purged"));
    base->detach();
  }
  assert_int_equal(hsm.count(Kind::pending), 2);
  SharedNode node(hsm);
  node->poll();  // at once: nobody is at work on them
  assert_true(node.lines.has("KMS0164"));
  assert_int_equal(unit::notes(*node->records()), 0);
  node->detach();
  assert_true(hsm.findings().empty());
}

// Whoever is so slow that others take the object for one of the dead does not get a version.
void a_creator_that_is_too_late(void**) {
  SharedHsm hsm;
  {
    SharedNode node(hsm);
    need(node->create("warm", aes_key(), nullptr));
  }
  hsm.fault("hold");
  const pid_t child = apart([&] {
    SharedNode node(hsm, 0, [](KeyStoreOptions& options) { options.hsm.timeout_ms = 60000; });
    assert_kind(node->create("late", aes_key(), nullptr), ErrorKind::unavailable, "took too long");
    assert_null(need(node->metadata("late")).get());
  });
  {
    unit::Node plain;
    Records& records = *plain->records();
    assert_true(eventually([&] { return unit::notes(records) == 1; }));
    const RecordPtr note = unit::good(records.read_all(kHsmPending))[0];
    Record mine{note->number, note->expires_ms, note->revision, note->content.clone()};
    assert_true(unit::good(records.put(kHsmPending, mine)));
  }
  hsm.heal("hold");
  assert_int_equal(end_of(child), 0);
  assert_int_equal(hsm.count(Kind::pending), 1);
  mend(hsm, true);
  assert_int_equal(hsm.count(Kind::good), 1);
  forget_all(hsm);
}

// The connection is lost at each statement in turn, before and after the server has it: the commit
// in doubt is one of them.
void connections_lost_anywhere(void**) {
  SharedHsm hsm;
  CuttingProxy proxy(server->port());
  std::vector<std::string> made;
  {
    SharedNode node(hsm, proxy.port());
    need(node->create("cut", aes_key(), nullptr));
    for (const auto how : {CuttingProxy::Cut::before, CuttingProxy::Cut::after}) {
      for (int n = 1; n < 40; ++n) {
        const std::string name =
            "cut-" + std::to_string(n) + (how == CuttingProxy::Cut::before ? "b" : "a");
        proxy.cut(n, how);
        auto done =
            n % 2 == 0 ? node->create(name, aes_key(), nullptr) : node->roll("cut", nullptr);
        if (!done.ok()) assert_int_equal(done.error().kind, ErrorKind::unavailable);
        if (done.ok()) made.push_back((*done)->version_name);
        if (!proxy.was_cut()) break;
        assert_true(n < 39);
      }
      proxy.cut(0, how);
    }
  }
  {
    unit::Node plain;
    unit::age_notes(*plain->records());
  }
  {
    SharedNode node(hsm);
    node->poll();
    assert_int_equal(unit::notes(*node->records()), 0);
    for (const std::string& each : made) {
      const VersionPtr version = need(node->version(each));
      assert_non_null(version.get());
      need(node->decrypt_eek(version, Bytes(16), Bytes(16)));
    }
  }
  hsm.assert_clean();
  forget_all(hsm);
}

// Killed at any moment of any change, again and again.
void kills_at_random(void**) {
  SharedHsm hsm;
  std::mt19937 random(7);
  for (int round = 0; round < 12; ++round) {
    int pipes[2];
    assert_int_equal(::pipe(pipes), 0);
    const pid_t child = apart([&] {
      SharedNode node(hsm);
      assert_int_equal(::write(pipes[1], ".", 1), 1);
      for (int i = 0;; ++i) {
        const std::string name = "kill-" + std::to_string(round) + "-" + std::to_string(i);
        need(node->create(name, aes_key(), nullptr));
        need(node->roll(name, nullptr));
        if (i % 2 == 1) need(node->remove(name));
        if (i % 4 == 1) need(node->purge(name));
      }
    });
    ::close(pipes[1]);
    char started = 0;
    assert_int_equal(::read(pipes[0], &started, 1), 1);
    ::close(pipes[0]);
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 150));
    ::kill(child, SIGKILL);
    assert_int_equal(end_of(child), 128 + SIGKILL);
  }
  {
    unit::Node plain;
    // What the server has not noticed yet ends first.
    assert_true(eventually([&] {
      return server->run(
                 "SELECT COUNT(*) FROM pg_stat_activity WHERE state LIKE '%transaction%'") == "0";
    }));
    unit::age_notes(*plain->records());
  }
  {
    SharedNode node(hsm);
    node->poll();
    assert_int_equal(unit::notes(*node->records()), 0);
    for (const std::string& name : need(node->names()))
      assert_int_equal(need(node->generate_eeks(name, 1)).size(), 1);
  }
  hsm.assert_clean();
  forget_all(hsm);
}

void a_side_is_away(void**) {
  SharedHsm hsm;
  {
    SharedNode node(hsm, 0, [](KeyStoreOptions& options) { options.trustee.timeout_ms = 1000; });
    need(node->create("away", aes_key(), nullptr));
    need(node->generate_eeks("away", 1));
    // The token: nothing is half made, and it is used again when it is back.
    hsm.fault("error", "0x32");  // CKR_DEVICE_REMOVED
    assert_kind(node->create("lost", aes_key(), nullptr), ErrorKind::unavailable, "The HSM");
    assert_null(need(node->metadata("lost")).get());
    assert_true(eventually([&] { return node->create("lost", aes_key(), nullptr).ok(); }));
    // The database: memory serves what was used since the last look at the log of changes.
    const std::int64_t begin = steady_ms();
    while (steady_ms() < begin + 1500) need(node->generate_eeks("away", 1));
    server->stop(SIGINT);
    assert_true(eventually([&] { return node->condition().state == HealthState::degraded; }));
    assert_int_equal(need(node->generate_eeks("away", 1)).size(), 1);
    assert_kind(node->create("gone", aes_key(), nullptr), ErrorKind::unavailable);
    assert_kind(node->roll("away", nullptr), ErrorKind::unavailable);
    node->poll();
    server->start();
    assert_true(eventually([&] { return node->roll("away", nullptr).ok(); }));
  }
  assert_int_equal(hsm.count(Kind::orphan), 0);
  mend(hsm);
  hsm.assert_clean();
  forget_all(hsm);
}

void orphans_and_pending_ones_by_hand(void**) {
  SharedHsm hsm;
  unit::Log log;
  assert_int_equal(end_of(apart([&] {
                     SharedNode node(hsm);
                     need(node->create("lonely", aes_key(), nullptr));
                     (void)node->create("begun", aes_key(), nullptr, kDie).ok();
                   })),
                   9);
  assert_kind(destroy_orphans(hsm.tool_options(), {"00"}, log), ErrorKind::invalid_argument);
  for (const auto& each : hsm.findings())
    if (each.kind == Kind::good)
      assert_kind(destroy_orphans(hsm.tool_options(), {each.id}, log), ErrorKind::invalid_argument);
  // As when the database is older than the object.
  for (const char* table : {"kms_key_version", "kms_key"})
    server->run("DELETE FROM " + std::string(table) + " WHERE name = 'lonely'");
  assert_int_equal(hsm.count(Kind::orphan), 1);
  assert_int_equal(hsm.count(Kind::pending), 1);
  for (const auto& each : hsm.findings()) need(destroy_orphans(hsm.tool_options(), {each.id}, log));
  assert_true(hsm.findings().empty());
  assert_int_equal(noted(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(death_between_object_and_version),
      cmocka_unit_test(death_before_the_object),
      cmocka_unit_test(death_elsewhere_unseen_here),
      cmocka_unit_test(death_after_the_purge),
      cmocka_unit_test(a_creator_that_is_too_late),
      cmocka_unit_test(connections_lost_anywhere),
      cmocka_unit_test(kills_at_random),
      cmocka_unit_test(a_side_is_away),
      cmocka_unit_test(orphans_and_pending_ones_by_hand),
  };
  return unit::run_on_a_store(tests);
}
