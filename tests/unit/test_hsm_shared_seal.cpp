// SPDX-License-Identifier: Apache-2.0
// Keys in a token whose metadata, in PostgreSQL, are sealed by a key of the same token: a process
// has one login for both.
#include "hsm_shared_node.h"
#include "keystore/postgres/trustee_seal.h"

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

// A database of its own, sealed by the key of this label.
struct SealedHsm : SharedHsm {
  explicit SealedHsm(const std::string& name) : name_(name) {
    change = [this](KeyStoreOptions& options) {
      options.hsm.metadata_uri =
          "trustee://kms@127.0.0.1:" + std::to_string(unit::server->port()) + "/" + name_;
      options.trustee.hsm = options.hsm;
      options.trustee.seal_key_file.clear();
      options.trustee.seal_hsm_key = "seal-" + name_;
    };
    unit::server->run("CREATE DATABASE " + name_);
    assert_true(need(seal_setup(options().trustee)).made);
    need(upgrade_trustee_store(options().hsm.metadata_uri, options().trustee, true));
  }
  // The sealing key is no key of the store, and nothing else is left over.
  void assert_whole(std::size_t versions) const {
    std::size_t good = 0, foreign = 0;
    for (const Finding& each : findings()) {
      good += each.kind == Kind::good;
      foreign += each.kind == Kind::foreign && each.label == "seal-" + name_;
    }
    assert_int_equal(good, versions);
    assert_int_equal(foreign, 1);
    assert_int_equal(findings().size(), versions + 1);
  }

 private:
  const std::string name_;
};

void one_login_serves_both(void**) {
  SealedHsm hsm("one");
  Eek eek;
  Secret dek;
  {
    SharedNode node(hsm);
    assert_true(node->condition().state == HealthState::good);
    assert_true(need(node->create("k", aes_key(256), nullptr))->material.empty());
    eek = std::move(need(node->generate_eeks("k", 1))[0]);
    dek = need(node->decrypt_eek(eek.wrapped_by, eek.iv, eek.material));
    assert_text(need(node->roll("k", nullptr))->version_name, "k@1");
  }
  hsm.assert_whole(2);
  // Another process, which has the references from the rows alone.
  assert_int_equal(
      end_of(apart([&] {
        SharedNode node(hsm);
        const VersionPtr old = need(node->version("k@0"));
        assert_true(need(node->decrypt_eek(old, eek.iv, eek.material)).equals(dek.view()));
        need(node->remove("k"));
        need(node->purge("k"));
      })),
      0);
  hsm.assert_whole(0);
}

void what_a_crash_leaves_is_mended(void**) {
  SealedHsm hsm("crash");
  assert_int_equal(end_of(apart([&] {
                     SharedNode node(hsm);
                     need(node->create("lonely", aes_key(), nullptr));
                     (void)node->create("begun", aes_key(), nullptr,
                                        [](const KeyVersion*) -> Result<void> { ::_exit(9); });
                   })),
                   9);
  assert_int_equal(hsm.count(Kind::pending), 1);
  // As when the database is older than the object.
  for (const char* table : {"kms_key_version", "kms_key"})
    server->run("DELETE FROM " + std::string(table), "crash");
  unit::Log log;
  for (const Finding& each : hsm.findings())
    if (each.kind == Kind::orphan || each.kind == Kind::pending)
      need(destroy_orphans(hsm.tool_options(), {each.id}, log));
  hsm.assert_whole(0);
}

void a_lost_token_stops_both_and_brings_both_back(void**) {
  SealedHsm hsm("lost");
  {
    SharedNode node(hsm);
    need(node->create("k", aes_key(), nullptr));
    need(node->generate_eeks("k", 1));
    hsm.fault("error", "0x32");  // CKR_DEVICE_REMOVED
    assert_kind(node->create("l", aes_key(), nullptr), ErrorKind::unavailable, "The HSM");
    assert_true(unit::eventually([&] { return node->create("l", aes_key(), nullptr).ok(); }));
    assert_int_equal(need(node->generate_eeks("k", 1)).size(), 1);
    assert_true(unit::eventually([&] { return node->condition().state == HealthState::good; }));
  }
  hsm.assert_whole(2);
}

// configtest: a look that leaves no login behind, by root as by the user that serves.
void it_is_checked_before_it_serves(void**) {
  SealedHsm hsm("checked");
  unit::Lines lines;
  auto store = need(open_keystore(hsm.options(), lines, true));
  need(store->attach());
  store->detach();
  KeyStoreOptions other = hsm.options();
  other.trustee.seal_hsm_key = "no-such-key";
  const auto refused = open_keystore(std::move(other), lines, true);
  assert_kind(refused, ErrorKind::configuration, "is not the one");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(one_login_serves_both),
      cmocka_unit_test(what_a_crash_leaves_is_mended),
      cmocka_unit_test(a_lost_token_stops_both_and_brings_both_back),
      cmocka_unit_test(it_is_checked_before_it_serves),
  };
  return unit::run_on_a_store(tests);
}
