// SPDX-License-Identifier: Apache-2.0
// Keys in a token that many nodes share, their metadata in PostgreSQL: operations, nodes, races,
// what is refused.
#include "core/hex.h"
#include "hsm_shared_node.h"
#include "keystore/postgres/backup.h"
#include "recipient_util.h"

using namespace kms;
using namespace kms::pkcs11;
using unit::aes_key;
using unit::apart;
using unit::assert_kind;
using unit::assert_text;
using unit::end_of;
using unit::need;
using unit::server;
using unit::SharedHsm;
using unit::SharedNode;
using Kind = Finding::Kind;

namespace {

void references(void**) {
  const KeyReference one{std::string("\0\xff 12345678\x01\x02\x03\x04\x05\x06", 16),
                         "k\xC3\xA9y@3",
                         256,
                         {1, 2, 3, 4}};
  const Secret text = encode_reference(one);
  const KeyReference again = need(parse_reference(text.view()));
  assert_true(again.id == one.id && again.label == one.label && again.check == one.check);
  assert_int_equal(again.bits, 256);
  assert_true(is_reference(text.view(), 256));
  // A key of just that length is a key, whatever it looks like.
  assert_false(is_reference(text.view(), static_cast<std::int32_t>(text.size()) * 8));
  assert_false(is_reference(as_bytes("0123456789abcdef"), 128));
  assert_false(is_reference(as_bytes("{\"type\":\"other\",\"id\":\"00\"}"), 128));
  for (const char* bad :
       {"", "{}", "{\"type\":\"pkcs11-object\",", "{\"type\":\"pkcs11-object\",\"id\":\"zz\"}",
        "{\"type\":\"pkcs11-object\",\"id\":\"0102030405060708\",\"check\":\"\",\"label\":\"\","
        "\"bits\":128}"})
    assert_kind(parse_reference(as_bytes(bad)), ErrorKind::corrupt);
  assert_true(note_number(one.id) > 0);
}

void life_of_a_key(void**) {
  SharedHsm hsm;
  {
    SharedNode node(hsm);
    assert_true(node->condition().state == HealthState::good);
    KeyOptions options = aes_key(256);
    options.description = "d";
    options.attributes = {{"key.acl.name", "x"}};
    const VersionPtr made =
        need(node->create("life", options, nullptr, [](const KeyVersion* fresh) -> Result<void> {
          assert_text(fresh->version_name, "life@0");
          assert_true(fresh->material.empty());
          return {};
        }));
    assert_true(made->material.empty());
    assert_int_equal(unit::notes(*node->records()), 0);
    assert_kind(node->create("life", options, nullptr), ErrorKind::io, "exists in hsm://generic");
    const auto eeks = need(node->generate_eeks("life", 300));
    assert_int_equal(eeks[0].material.size(), 32);
    std::vector<WrappedDek> wrapped;
    std::vector<Secret> deks;
    for (const Eek& eek : eeks) {
      wrapped.push_back({Bytes(eek.iv.begin(), eek.iv.end()), eek.material});
      deks.push_back(need(node->decrypt_eek(eek.wrapped_by, eek.iv, eek.material)));
    }
    const VersionPtr rolled = need(node->roll("LIFE", nullptr));
    assert_text(rolled->version_name, "life@1");
    assert_text(need(node->generate_eeks("life", 1))[0].wrapped_by->version_name, "life@1");
    need(node->reencrypt_eeks(eeks[0].wrapped_by, rolled, wrapped));
    for (std::size_t i = 0; i < deks.size(); ++i)
      assert_true(need(node->decrypt_eek(rolled, wrapped[i].iv, wrapped[i].material))
                      .equals(deks[i].view()));
    for (const VersionPtr& each : need(node->versions("life"))) assert_true(each->material.empty());
    const MetadataPtr m = need(node->metadata("life"));
    assert_true(m->attributes == options.attributes && m->versions == 2 && m->bit_length == 256);
    // Deleted, had back, and then gone for good.
    need(node->remove("life"));
    assert_true(need(node->generate_eeks("life", 1)).empty());
    assert_kind(node->create("life", options, nullptr), ErrorKind::io, "until it is purged");
    assert_int_equal(need(node->deleted_keys()).size(), 1);
    need(node->undelete("life"));
    assert_true(need(node->decrypt_eek(need(node->version("life@0")), eeks[0].iv, eeks[0].material))
                    .equals(deks[0].view()));
    need(node->set_state("life", KeyState::deactivated));
    assert_kind(node->roll("life", nullptr), ErrorKind::key_state);
    need(node->remove("life"));
  }
  assert_int_equal(hsm.count(Kind::good), 2);
  {
    SharedNode node(hsm);
    need(node->purge("life"));
    assert_int_equal(unit::notes(*node->records()), 0);
  }
  assert_true(hsm.findings().empty());
}

void refusals(void**) {
  SharedHsm hsm;
  {
    SharedNode node(hsm);
    const Secret material(std::string_view("0123456789abcdef"));
    assert_kind(node->create("no", aes_key(), &material), ErrorKind::unsupported, "not taken");
    assert_kind(node->create("no", aes_key(512), nullptr), ErrorKind::invalid_key_length);
    assert_kind(node->create("Upper", aes_key(), nullptr), ErrorKind::invalid_argument);
    KeyOptions other = aes_key();
    other.cipher = "HmacSHA256";
    assert_kind(node->create("no", other, nullptr), ErrorKind::unsupported, "AES keys only");
    assert_kind(node->roll("no", nullptr), ErrorKind::io, "Can't find Metadata");
    assert_kind(node->remove("no"), ErrorKind::io, "does not exist");
    assert_kind(node->purge("no"), ErrorKind::io, "no deleted key");
    need(node->create("ref", aes_key(), nullptr));
    assert_kind(node->roll("ref", &material), ErrorKind::unsupported, "not taken");
    assert_kind(node->import_key(*need(node->metadata("ref")), {}), ErrorKind::unsupported);
    // Whoever approves says no: neither side keeps anything.
    const Approval never = [](const KeyVersion*) -> Result<void> {
      return Error(ErrorKind::unavailable, "no audit");
    };
    assert_kind(node->create("no", aes_key(), nullptr, never), ErrorKind::unavailable, "no audit");
    assert_kind(node->roll("ref", nullptr, never), ErrorKind::unavailable, "no audit");
    assert_int_equal(unit::notes(*node->records()), 0);
    assert_int_equal(need(node->metadata("ref"))->versions, 1);
  }
  assert_int_equal(hsm.count(Kind::good), 1);
  hsm.assert_clean();
  SharedNode node(hsm);
  need(node->remove("ref"));
  need(node->purge("ref"));
}

// The other node answers with the new version within a second, whatever its queue has ready.
void a_roll_shows_on_the_other_node(void**) {
  SharedHsm hsm;
  int pipes[2];
  assert_int_equal(::pipe(pipes), 0);
  const pid_t child = apart([&] {
    SharedNode node(hsm, 0, [](KeyStoreOptions& options) { options.hsm.eek_queue.size = 50; });
    std::int64_t last_old = 0;
    bool told = false;
    assert_true(unit::eventually([&] {
      const std::int64_t begin = steady_ms();
      const auto eeks = need(node->generate_eeks("seen", 1));
      if (eeks.empty()) return false;
      if (eeks[0].wrapped_by->version_name == "seen@1") return true;
      last_old = begin;
      if (!told) assert_int_equal(::write(pipes[1], &begin, sizeof begin), sizeof begin);
      told = true;
      return false;
    }));
    assert_int_equal(::write(pipes[1], &last_old, sizeof last_old), sizeof last_old);
  });
  ::close(pipes[1]);
  SharedNode node(hsm);
  need(node->create("seen", aes_key(), nullptr));
  std::int64_t heard = 0;
  assert_int_equal(::read(pipes[0], &heard, sizeof heard), sizeof heard);
  need(node->roll("seen", nullptr));
  const std::int64_t rolled = steady_ms();
  assert_int_equal(::read(pipes[0], &heard, sizeof heard), sizeof heard);
  ::close(pipes[0]);
  assert_int_equal(end_of(child), 0);
  assert_true(heard <= rolled + 1000);
  need(node->remove("seen"));
  need(node->purge("seen"));
}

// As soon as the database says so, whenever the other process has looked into the token last; one
// that starts in the same moment may have seen half of the object.
void a_new_key_is_usable_on_the_other_node(void**) {
  constexpr int kStarts = 6, kKeys = 20;
  SharedHsm hsm;
  std::vector<pid_t> children;
  const auto name = [](int start, int i) {
    return "new-" + std::to_string(start) + "-" + std::to_string(i);
  };
  for (int start = 0; start < kStarts; ++start) {
    children.push_back(apart([&] {
      SharedNode node(hsm);
      for (int i = 0; i < kKeys; ++i) {
        assert_true(unit::eventually(
            [&] { return need(node->current_version(name(start, i))) != nullptr; }));
        assert_int_equal(need(node->generate_eeks(name(start, i), 1)).size(), 1);
      }
    }));
  }
  {
    SharedNode node(hsm);
    for (int i = 0; i < kKeys; ++i)
      for (int start = 0; start < kStarts; ++start)
        need(node->create(name(start, i), aes_key(), nullptr));
  }
  for (const pid_t child : children) assert_int_equal(end_of(child), 0);
  SharedNode node(hsm);
  for (const std::string& each : need(node->names())) {
    need(node->remove(each));
    need(node->purge(each));
  }
}

// Everyone wants the same names, and rolls the same key: each name is made once, no version is lost
// or made twice, and what lost a race leaves nothing in the token.
void racing_nodes(void**) {
  constexpr int kNodes = 3, kRounds = 40;
  SharedHsm hsm;
  {
    SharedNode node(hsm);
    need(node->create("rolls", aes_key(), nullptr));
  }
  int pipes[2];
  assert_int_equal(::pipe(pipes), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < kNodes; ++i) {
    children.push_back(apart([&] {
      SharedNode node(hsm);
      std::int64_t done[2] = {0, 0};  // creates, rolls
      for (int round = 0; round < kRounds; ++round) {
        const std::string name = "race-" + std::to_string(round);
        auto made = node->create(name, aes_key(), nullptr);
        if (!made.ok()) assert_kind(made, ErrorKind::io, "already exists");
        done[0] += made.ok();
        auto rolled = node->roll("rolls", nullptr);
        if (!rolled.ok()) assert_kind(rolled, ErrorKind::unavailable, "in the same moment");
        done[1] += rolled.ok();
      }
      assert_int_equal(::write(pipes[1], done, sizeof done), sizeof done);
    }));
  }
  ::close(pipes[1]);
  std::int64_t creates = 0, rolls = 0;
  for (const pid_t child : children) {
    std::int64_t done[2];
    assert_int_equal(::read(pipes[0], done, sizeof done), sizeof done);
    assert_int_equal(end_of(child), 0);
    creates += done[0];
    rolls += done[1];
  }
  assert_int_equal(creates, kRounds);
  assert_true(rolls > kRounds);
  ::close(pipes[0]);
  hsm.assert_clean();
  SharedNode node(hsm);
  assert_int_equal(need(node->metadata("rolls"))->versions, 1 + rolls);
  assert_int_equal(need(node->versions("rolls")).size(), 1 + rolls);
  assert_int_equal(unit::notes(*node->records()), 0);
  assert_int_equal(need(node->generate_eeks("rolls", 1)).size(), 1);
  need(node->remove("rolls"));
  need(node->purge("rolls"));
  for (int round = 0; round < kRounds; ++round) {
    need(node->remove("race-" + std::to_string(round)));
    need(node->purge("race-" + std::to_string(round)));
  }
}

// Keys of the time before the HSM serve on, and go into it with their next version.
void software_versions_beside(void**) {
  SharedHsm hsm;
  unit::Node plain;
  need(plain->create("soft", aes_key(), nullptr));
  const auto eeks = need(plain->generate_eeks("soft", 2));
  const Secret dek = need(plain->decrypt_eek(eeks[0].wrapped_by, eeks[0].iv, eeks[0].material));
  {
    SharedNode node(hsm);
    const VersionPtr old = need(node->version("soft@0"));
    assert_true(old->material.empty());  // not even of these
    assert_true(need(node->decrypt_eek(old, eeks[0].iv, eeks[0].material)).equals(dek.view()));
    const auto more = need(node->generate_eeks("soft", 3));
    assert_int_equal(more.size(), 3);
    need(plain->decrypt_eek(eeks[0].wrapped_by, more[0].iv, more[0].material));
    const VersionPtr fresh = need(node->roll("soft", nullptr));
    std::vector<WrappedDek> wrapped = {
        {Bytes(eeks[0].iv.begin(), eeks[0].iv.end()), eeks[0].material}};
    need(node->reencrypt_eeks(old, fresh, wrapped));
    assert_true(
        need(node->decrypt_eek(fresh, wrapped[0].iv, wrapped[0].material)).equals(dek.view()));
  }
  assert_int_equal(hsm.count(Kind::software), 1);
  assert_int_equal(hsm.count(Kind::good), 1);
  // Without the HSM the new version is of no use, and nothing is done that would lose it.
  need(plain->invalidate("soft"));
  need(plain->version("soft@0"));
  assert_kind(plain->version("soft@1"), ErrorKind::configuration, "is in an HSM");
  assert_kind(plain->generate_eeks("soft", 1), ErrorKind::configuration, "is in an HSM");
  assert_kind(plain->roll("soft", nullptr), ErrorKind::configuration, "is in an HSM");
  need(plain->remove("soft"));
  assert_kind(plain->purge("soft"), ErrorKind::configuration, "is in an HSM");
  SharedNode node(hsm);
  need(node->purge("soft"));
}

// A reference is bound to its version as material is.
void rows_that_somebody_edited(void**) {
  SharedHsm hsm;
  SharedNode node(hsm);
  need(node->create("mine", aes_key(), nullptr));
  need(node->create("theirs", aes_key(), nullptr));
  need(node->roll("mine", nullptr));
  const auto copy = [](const char* from, const char* to) {
    server->run(
        "UPDATE kms_key_version t SET sealed = f.sealed, wrapped_key = f.wrapped_key"
        " FROM kms_key_version f WHERE t.name = 'mine' AND t.version = " +
        std::string(to) + " AND " + from);
  };
  server->run("CREATE TABLE kept AS SELECT * FROM kms_key_version WHERE name = 'mine'");
  copy("f.name = 'theirs'", "1");
  need(node->invalidate("mine"));
  assert_kind(node->generate_eeks("mine", 1), ErrorKind::corrupt, "changed, swapped or damaged");
  copy("f.name = 'mine' AND f.version = 0", "1");
  need(node->invalidate("mine"));
  assert_kind(node->generate_eeks("mine", 1), ErrorKind::corrupt, "changed, swapped or damaged");
  assert_int_equal(need(node->generate_eeks("theirs", 1)).size(), 1);
  server->run("DELETE FROM kms_key_version WHERE name = 'mine'");
  server->run("INSERT INTO kms_key_version SELECT * FROM kept");
  need(node->invalidate("mine"));
  assert_int_equal(need(node->generate_eeks("mine", 1)).size(), 1);
  for (const char* name : {"mine", "theirs"}) {
    need(node->remove(name));
    need(node->purge(name));
  }
}

void configurations(void**) {
  SharedHsm hsm;
  unit::Lines lines;
  const auto refused = [&](const std::function<void(KeyStoreOptions&)>& change,
                           std::string_view part) {
    KeyStoreOptions options = hsm.options();
    change(options);
    auto opened = open_keystore(std::move(options), lines, true);
    assert_kind(opened, ErrorKind::configuration, part);
  };
  assert_true(open_keystore(hsm.options(), lines, true).ok());
  refused([](auto& o) { o.hsm.metadata_uri.clear(); }, "hsm.metadata.uri is not set");
  refused([&](auto& o) { o.uri += "@" + hsm.dir.path("kms.hsm"); }, "one of them");
  refused([](auto& o) { o.uri = server->uri(); }, "is of a provider hsm://");
  refused([](auto& o) { o.uri = "jceks://file@/x"; }, "is of a provider hsm://");
  refused([](auto& o) { o.hsm.metadata_uri = "jceks://file@/x"; }, "is no trustee://");
  refused([](auto& o) { o.hsm.metadata_uri = "trustee://nobody"; }, "trustee://USER@HOST");
  refused([](auto& o) { o.uri = "hsm://none"; }, "no profile 'none'");
  refused([](auto& o) { o.hsm.previous_uri = "jceks://file@/x"; }, "previous.uri are set together");
  refused([](auto& o) { o.hsm.previous_uri = server->uri(); }, "previous.uri are set together");
  refused([](auto& o) { o.trustee.seal_hsm_key = "k"; }, "are set together");
  refused([](auto& o) { o.trustee.seal_key_file = "/none"; }, "/none");
  refused([](auto& o) { o.hsm.metadata_uri = "trustee://kms@127.0.0.1:1/postgres"; }, "127.0.0.1");
  refused([](auto& o) { o.hsm.token = "pkcs11:token=other"; }, "no token is");
}

// A backup has the references. With the objects it is of use again; what was deleted meanwhile and
// waits to be destroyed is spared.
void a_backup_comes_back(void**) {
  SharedHsm hsm;
  const unit::Recipient recipient(hsm.dir, "recipient", true);
  const std::string file = hsm.dir.path("backup"), certificates[] = {recipient.certificate};
  std::vector<Eek> eeks;
  Secret dek;
  {
    SharedNode node(hsm);
    need(node->create("back", aes_key(), nullptr));
    eeks = need(node->generate_eeks("back", 1));
    dek = need(node->decrypt_eek(eeks[0].wrapped_by, eeks[0].iv, eeks[0].material));
  }
  assert_int_equal(
      need(backup_trustee_store(server->uri(), server->options(), file, certificates)).versions, 1);
  {
    // The rows are gone, and the object is still there.
    unit::Lines lines;
    auto base = need(open_trustee_store(
        server->uri(), server->options(), lines, false, [](KeyVersion sealed, std::int32_t) {
          return Result<VersionPtr>(
              std::make_shared<KeyVersion>(KeyVersion{sealed.name, sealed.version_name, {}}));
        }));
    need(base->attach());
    need(base->remove("back"));
    need(base->purge("back"));
    assert_int_equal(unit::notes(*base->records()), 1);
    base->detach();
  }
  assert_int_equal(hsm.count(Kind::pending), 1);
  RestoreOptions restore;
  restore.file = file;
  restore.key_file = recipient.key;
  restore.merge = true;
  assert_int_equal(need(restore_trustee_store(server->uri(), server->options(), restore)).restored,
                   1);
  SharedNode node(hsm);
  node->poll();
  assert_int_equal(unit::notes(*node->records()), 0);
  const VersionPtr version = need(node->version("back@0"));
  assert_true(need(node->decrypt_eek(version, eeks[0].iv, eeks[0].material)).equals(dek.view()));
  need(node->remove("back"));
  need(node->purge("back"));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(references),
      cmocka_unit_test(life_of_a_key),
      cmocka_unit_test(refusals),
      cmocka_unit_test(a_roll_shows_on_the_other_node),
      cmocka_unit_test(a_new_key_is_usable_on_the_other_node),
      cmocka_unit_test(racing_nodes),
      cmocka_unit_test(software_versions_beside),
      cmocka_unit_test(rows_that_somebody_edited),
      cmocka_unit_test(configurations),
      cmocka_unit_test(a_backup_comes_back),
  };
  return unit::run_on_a_store(tests);
}
