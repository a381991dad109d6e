// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hsm_util.h"
#include "keystore/factory.h"
#include "keystore/key_reference.h"
#include "records/records.h"
#include "trustee_node.h"

// What the tests of keys in a token with their metadata in PostgreSQL have in common: one token,
// one database, and nodes on both. A process has one node at a time, as it has one login.
namespace unit {

struct SharedHsm : Hsm {
  SharedHsm() : Hsm((require_token(), token_kind())) {}
  // Port 0: of the server itself.
  kms::KeyStoreOptions options(int port = 0) const {
    const kms::pkcs11::StoreOptions of_token = Hsm::options();
    kms::KeyStoreOptions out;
    out.uri = "hsm://generic";
    static_cast<kms::pkcs11::HsmOptions&>(out.hsm) = of_token.hsm;
    out.hsm.library = HSM_FAULT_MODULE;
    out.hsm.metadata_uri = unit::server->uri(port);
    out.trustee = unit::server->options();
    if (change) change(out);
    return out;
  }
  std::function<void(kms::KeyStoreOptions&)> change;  // of what all nodes and tools have
  kms::pkcs11::StoreOptions tool_options() const {
    kms::KeyStoreOptions from = options();
    kms::pkcs11::StoreOptions out;
    out.uri = from.uri;
    out.hsm = from.hsm;
    out.trustee = from.trustee;
    return out;
  }

  using Kind = kms::pkcs11::Finding::Kind;
  // Without what SoftHSM leaves of an object when it is killed in the middle of making it, which
  // has neither id nor label.
  std::vector<kms::pkcs11::Finding> findings() const {
    Log log;
    auto all = need(kms::pkcs11::examine(tool_options(), log)).findings;
    std::erase_if(all, [](const auto& each) {
      return each.kind == Kind::foreign && each.id.empty() && each.label.empty();
    });
    return all;
  }
  std::size_t count(Kind kind) const {
    std::size_t n = 0;
    for (const auto& each : findings()) n += each.kind == kind;
    return n;
  }
  // Every version has its object, and every object its version; nothing is left of anything.
  void assert_clean() const {
    for (const auto& each : findings()) {
      const bool fine = each.kind == Kind::good || each.kind == Kind::software;
      if (!fine) print_error("%s %s\n", each.label.c_str(), each.what.c_str());
      assert_true(fine);
    }
  }
};

struct SharedNode {
  explicit SharedNode(const SharedHsm& hsm, int port = 0,
                      const std::function<void(kms::KeyStoreOptions&)>& change = {}) {
    kms::KeyStoreOptions options = hsm.options(port);
    if (change) change(options);
    store = good(kms::open_keystore(std::move(options), lines, false));
    good(store->attach());
  }
  ~SharedNode() { store->detach(); }
  kms::KeyStore* operator->() { return store.get(); }
  Lines lines;
  std::unique_ptr<kms::KeyStore> store;
};

// Notes of interrupted changes, as somebody finds them two hours later.
inline void age_notes(kms::Records& records) {
  for (const kms::RecordPtr& each : good(records.read_all(kms::kHsmPending))) {
    good(records.remove(kms::kHsmPending, each->number));
    kms::Record old;
    old.number = each->number;
    old.expires_ms = kms::now_ms() - 2 * 3'600'000;
    old.content = each->content.clone();
    assert_true(good(records.put(kms::kHsmPending, old)));
  }
}
inline std::size_t notes(kms::Records& records) {
  return good(records.read_all(kms::kHsmPending)).size();
}

// Runs body in a process of its own, before this one has a node. What fails there ends it with 1.
inline pid_t apart(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const CMUnitTest alone[] = {
      {"apart", [](void** state) { (*static_cast<const std::function<void()>*>(*state))(); },
       nullptr, nullptr, const_cast<void*>(static_cast<const void*>(&body))}};
  ::_exit(_cmocka_run_group_tests("apart", alone, 1, nullptr, nullptr) == 0 ? 0 : 1);
}
// Its exit code; that of a process that was killed: 128 and the signal.
inline int end_of(pid_t pid) {
  int status = 0;
  assert_int_equal(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace unit
