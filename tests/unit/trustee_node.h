// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "aes_key.h"
#include "postgres_util.h"

// What the tests of the store in PostgreSQL have in common: one database, and nodes on it.
namespace unit {

inline PostgresServer* server = nullptr;

// What one httpd is. Port 0: of the server itself.
struct Node {
  Lines lines;
  std::unique_ptr<kms::KeyStore> store;
  explicit Node(int port = 0, const std::function<void(kms::TrusteeOptions&)>& change = {}) {
    kms::TrusteeOptions options = server->options();
    if (change) change(options);
    auto opened = kms::open_trustee_store(server->uri(port), options, lines, false);
    if (!opened.ok()) _fail(opened.error().message.c_str(), 0);
    store = std::move(*opened);
    assert_true(store->attach().ok());
  }
  ~Node() { store->detach(); }
  kms::KeyStore* operator->() { return store.get(); }
};

template <class T>
T good(kms::Result<T> result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
  return std::move(result).value();
}
inline void good(kms::Result<void> result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
}

// Takes a key's rows away, whatever they are like.
inline void forget(Node& node, const std::string& name) {
  for (const char* table : {"kms_key_version", "kms_key"})
    server->run("DELETE FROM " + std::string(table) + " WHERE name = '" + name + "'");
  good(node->invalidate(name));
}

// Runs tests on a database with an empty store; skips them where there is no PostgreSQL.
template <std::size_t n>
int run_on_a_store(const CMUnitTest (&tests)[n]) {
  if (postgres_script({"check"}) != 0) return 77;
  PostgresServer running;
  server = &running;
  auto made = kms::upgrade_trustee_store(running.uri(), running.options(), true);
  if (!made.ok()) {
    print_error("%s\n", made.error().message.c_str());
    return 1;
  }
  return _cmocka_run_group_tests("tests", tests, n, nullptr, nullptr);
}

}  // namespace unit
