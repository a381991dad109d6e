// SPDX-License-Identifier: Apache-2.0
// The store on a real PostgreSQL: operations, two nodes, races, damage.
#include "trustee_node.h"

namespace {

using namespace kms;
using StorePtr = std::unique_ptr<KeyStore>;

using unit::aes;
using unit::forget;
using unit::good;
using unit::Node;
using unit::server;

void operations(void**) {
  Node node;
  KeyOptions options = aes(256);
  options.description = "what it is for";
  options.attributes = {{"key.acl.name", "x"}};
  const VersionPtr first = good(node->create("op", options, nullptr));
  unit::assert_text(first->version_name, "op@0");
  assert_int_equal(first->material.size(), 32);
  const MetadataPtr metadata = good(node->metadata("OP"));
  unit::assert_text(metadata->name, "op");
  assert_true(metadata->description == options.description);
  assert_true(metadata->attributes == options.attributes);
  assert_int_equal(metadata->bit_length, 256);
  assert_int_equal(metadata->versions, 1);
  unit::assert_contains(node->create("op", aes(), nullptr).error().message,
                        "Key op already exists in trustee://");
  const Secret material(std::string_view("0123456789abcdef0123456789ABCDEF"));
  unit::assert_text(good(node->roll("op", &material))->version_name, "op@1");
  assert_true(good(node->current_version("op"))->material.equals(material.view()));
  assert_true(good(node->version("op@0"))->material.equals(first->material.view()));
  assert_int_equal(good(node->versions("op")).size(), 2);
  for (const char* none : {"op@2", "op@", "op@01", "op@-1", "op", "none@0"})
    assert_null(good(node->version(none)).get());
  unit::assert_contains(
      node->roll("op", std::make_unique<Secret>(std::string_view("short")).get()).error().message,
      "Wrong key length. Required 256, but got 40");
  auto eeks = good(node->generate_eeks("op", 3));
  assert_int_equal(eeks.size(), 3);
  assert_int_equal(good(node->decrypt_eek(eeks[0].wrapped_by, eeks[0].iv, eeks[0].material)).size(),
                   32);
  const auto names = good(node->names());
  assert_true(std::find(names.begin(), names.end(), "op") != names.end());
  good(node->remove("op"));
  assert_null(good(node->metadata("op")).get());
  assert_null(good(node->version("op@0")).get());
  assert_int_equal(good(node->versions("op")).size(), 0);
  unit::assert_contains(node->remove("op").error().message, "Key op does not exist in");
  unit::assert_contains(node->roll("op", nullptr).error().message,
                        "Can't find Metadata for key op");
  unit::assert_contains(node->create("UP", aes(), nullptr).error().message, "Uppercase");
  assert_int_equal(node->create("bits", aes(7), nullptr).error().kind,
                   ErrorKind::invalid_key_length);
  KeyOptions nul = aes();
  nul.attributes[std::string("a\0b", 3)] = "";
  assert_int_equal(node->create("nul", nul, nullptr).error().kind, ErrorKind::invalid_argument);
}

void approval_comes_before_the_key(void**) {
  Node node;
  int asked = 0;
  const auto no = [&](const KeyVersion* fresh) -> Result<void> {
    ++asked;
    unit::assert_text(fresh->version_name, "ap@0");
    // Nobody sees it yet.
    unit::assert_text(server->run("SELECT COUNT(*) FROM kms_key WHERE name = 'ap'"), "0");
    return Error(ErrorKind::unavailable, "the audit log is full");
  };
  unit::assert_text(node->create("ap", aes(), nullptr, no).error().message,
                    "the audit log is full");
  assert_int_equal(asked, 1);
  assert_null(good(node->metadata("ap")).get());
  good(node->create("ap", aes(), nullptr));
  const auto refuse = [](const KeyVersion*) -> Result<void> {
    return Error(ErrorKind::unavailable, "no");
  };
  assert_false(node->roll("ap", nullptr, refuse).ok());
  assert_false(node->remove("ap", refuse).ok());
  assert_int_equal(good(node->metadata("ap"))->versions, 1);
  good(node->remove("ap"));
}

void import_takes_a_key_as_it_is(void**) {
  Node node;
  KeyMetadata metadata;
  metadata.name = "imp";
  metadata.cipher = "AES/CTR/NoPadding";
  metadata.bit_length = 128;
  metadata.created_ms = 1234567890123;
  metadata.versions = 4;
  metadata.attributes = {{"a", "b"}};
  std::vector<VersionPtr> versions;
  for (const int n : {0, 2, 3})
    versions.push_back(std::make_shared<KeyVersion>(KeyVersion{
        "imp", version_name("imp", n), Secret(Bytes(16, static_cast<std::uint8_t>(n)))}));
  good(node->import_key(metadata, versions));
  const MetadataPtr got = good(node->metadata("imp"));
  assert_int_equal(got->created_ms, metadata.created_ms);
  assert_int_equal(got->versions, 4);
  const auto stored = good(node->versions("imp"));
  assert_int_equal(stored.size(), 3);
  unit::assert_text(stored[1]->version_name, "imp@2");
  assert_true(stored[1]->material.equals(Bytes(16, 2)));
  assert_null(good(node->version("imp@1")).get());
  assert_false(node->import_key(metadata, versions).ok());
  unit::assert_text(good(node->roll("imp", nullptr))->version_name, "imp@4");
  good(node->remove("imp"));
}

// What one node changes the other one sees within a second, and at once after invalidate.
void nodes_see_each_other(void**) {
  Node a, b;
  for (int i = 0; i < 3; ++i) {
    const std::string name = "seen" + std::to_string(i);
    assert_null(good(b->metadata(name)).get());
    good(a->create(name, aes(), nullptr));
    std::int64_t begin = steady_ms();
    assert_true(unit::eventually([&] { return good(b->metadata(name)) != nullptr; }, 3000));
    // A second is what is promised; a busy machine may take a moment to ask.
    assert_true(steady_ms() - begin < 2000);
    good(b->roll(name, nullptr));
    begin = steady_ms();
    assert_true(unit::eventually(
        [&] { return good(a->current_version(name))->version_name == name + "@1"; }, 3000));
    assert_true(steady_ms() - begin < 2000);
    good(a->roll(name, nullptr));
    good(b->invalidate(name));
    unit::assert_text(good(b->current_version(name))->version_name, name + "@2");
    good(b->remove(name));
    good(a->invalidate(name));
    assert_null(good(a->metadata(name)).get());
  }
}

// Children of one server: at once, without a look at the database.
void siblings_see_each_other_at_once(void**) {
  unit::Lines lines;
  auto store = good(open_trustee_store(server->uri(), server->options(), lines, false));
  int to_child[2], to_parent[2];
  assert_int_equal(pipe(to_child) | pipe(to_parent), 0);
  const pid_t child = fork();
  char go = 0;
  if (child == 0) {
    if (!store->attach().ok()) _exit(1);
    for (int i = 0; i < 50; ++i) {
      if (read(to_child[0], &go, 1) != 1) _exit(2);
      const auto made = i == 0 ? store->create("sib", aes(), nullptr) : store->roll("sib", nullptr);
      if (!made.ok() || write(to_parent[1], "x", 1) != 1) _exit(3);
    }
    store->detach();
    _exit(0);
  }
  assert_true(store->attach().ok());
  assert_null(good(store->metadata("sib")).get());
  for (int i = 0; i < 50; ++i) {
    assert_int_equal(write(to_child[1], "x", 1), 1);
    assert_int_equal(read(to_parent[0], &go, 1), 1);
    unit::assert_text(good(store->current_version("sib"))->version_name,
                      "sib@" + std::to_string(i));
    assert_int_equal(good(store->names()).size() > 0, 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
  assert_int_equal(good(store->versions("sib")).size(), 50);
  good(store->remove("sib"));
  store->detach();
}

constexpr int kRounds = 1000;

// One of two processes that ask for the same names, and roll the same key. Each line of its answer:
// what it won.
void race(int to) {
  Node node;
  std::string won;
  for (int i = 0; i < kRounds; ++i) {
    const std::string name = "race" + std::to_string(i);
    auto made = node->create(name, aes(), nullptr);
    if (made.ok())
      won += "c " + name + " " + unit::to_hex((*made)->material.view()) + "\n";
    else if (!unit::contains(made.error().message, "already exists"))
      won += "e " + made.error().message + "\n";
    auto rolled = node->roll("turns", nullptr);
    if (rolled.ok())
      won += "r " + (*rolled)->version_name + " " + unit::to_hex((*rolled)->material.view()) + "\n";
    else
      won += "e " + rolled.error().message + "\n";
  }
  std::ofstream out(server->dir().path("race" + std::to_string(to)));
  out << won;
}

void races_have_one_winner(void**) {
  {
    Node node;
    good(node->create("turns", aes(), nullptr));
  }
  pid_t racers[2];
  for (int i = 0; i < 2; ++i) {
    racers[i] = fork();
    if (racers[i] == 0) {
      race(i);
      std::_Exit(0);
    }
  }
  for (const pid_t racer : racers) {
    int status = 1;
    waitpid(racer, &status, 0);
    assert_int_equal(status, 0);
  }
  std::map<std::string, std::string> created, rolled;
  for (const char* file : {"race0", "race1"}) {
    std::ifstream in(server->dir().path(file));
    std::string kind, name, material;
    while (in >> kind) {
      if (kind == "e") {
        std::getline(in, name);
        _fail(name.c_str(), 0);
      }
      in >> name >> material;
      assert_true((kind == "c" ? created : rolled).emplace(name, material).second);
    }
  }
  assert_int_equal(created.size(), kRounds);
  assert_int_equal(rolled.size(), 2 * kRounds);
  Node node;
  for (const auto& [name, material] : created)
    unit::assert_text(unit::to_hex(good(node->current_version(name))->material.view()), material);
  const auto versions = good(node->versions("turns"));
  assert_int_equal(versions.size(), 2 * kRounds + 1);
  for (std::size_t i = 1; i < versions.size(); ++i)
    unit::assert_text(unit::to_hex(versions[i]->material.view()),
                      rolled.at("turns@" + std::to_string(i)));
}

// Somebody with the right to write the tables, but without the sealing key.
void edited_rows_are_refused(void**) {
  Node node;
  const std::size_t before = good(node->deleted_keys()).size();
  const auto broken = [&](const std::string& sql, const std::string& row,
                          const std::function<Result<VersionPtr>()>& use) {
    for (const char* name : {"ed1", "ed2"}) good(node->create(name, aes(), nullptr));
    good(node->roll("ed1", nullptr));
    server->run(sql);
    good(node->invalidate("ed1"));
    auto refused = use();
    assert_false(refused.ok());
    assert_int_equal(refused.error().kind, ErrorKind::corrupt);
    unit::assert_contains(refused.error().message, "row " + row);
    assert_true(node.lines.has("KMS0134"));
    for (const char* name : {"ed1", "ed2"}) forget(node, name);
  };
  const auto current = [&] { return node->current_version("ed1"); };
  broken("UPDATE kms_key SET cipher = 'x' WHERE name = 'ed1'", "ed1 of kms_key", current);
  broken("UPDATE kms_key SET versions = 1 WHERE name = 'ed1'", "ed1 of kms_key", current);
  broken("UPDATE kms_key a SET tag = b.tag FROM kms_key b WHERE a.name = 'ed1' AND b.name = 'ed2'",
         "ed1 of kms_key", [&] { return node->roll("ed1", nullptr); });
  broken(
      "UPDATE kms_key_version a SET sealed = b.sealed, wrapped_key = b.wrapped_key FROM"
      " kms_key_version b WHERE a.name = 'ed1' AND a.version = 1 AND b.name = 'ed2'",
      "ed1@1 of kms_key_version", current);
  broken(
      "UPDATE kms_key_version a SET sealed = b.sealed, wrapped_key = b.wrapped_key,"
      " created_ms = b.created_ms FROM kms_key_version b WHERE a.name = 'ed1' AND a.version = 1"
      " AND b.name = 'ed1' AND b.version = 0",
      "ed1@1 of kms_key_version", current);
  // Others of the key are as good as before.
  good(node->create("ed1", aes(), nullptr));
  good(node->roll("ed1", nullptr));
  server->run("UPDATE kms_key_version SET sealed = '\\x00' WHERE name = 'ed1' AND version = 0");
  good(node->invalidate("ed1"));
  assert_false(node->version("ed1@0").ok());
  good(node->version("ed1@1"));
  forget(node, "ed1");
  // Neither back from the dead, nor dead sooner.
  good(node->create("ed1", aes(), nullptr));
  good(node->remove("ed1"));
  server->run("UPDATE kms_key SET deleted_ms = 1 WHERE name = 'ed1'");
  assert_int_equal(node->purge("ed1").error().kind, ErrorKind::corrupt);
  assert_int_equal(node->undelete("ed1").error().kind, ErrorKind::corrupt);
  assert_int_equal(node->deleted_key("ed1").error().kind, ErrorKind::corrupt);
  assert_int_equal(good(node->deleted_keys()).size(), before);
  server->run("UPDATE kms_key SET deleted_ms = NULL WHERE name = 'ed1'");
  good(node->invalidate("ed1"));
  assert_int_equal(node->current_version("ed1").error().kind, ErrorKind::corrupt);
  forget(node, "ed1");
}

void deleted_keys_are_kept(void**) {
  Node node, other;
  KeyOptions options = aes();
  options.description = "kept";
  const VersionPtr first = good(node->create("soft", options, nullptr));
  const VersionPtr second = good(node->roll("soft", nullptr));
  assert_int_equal(node->undelete("soft").error().kind, ErrorKind::io);
  assert_int_equal(node->purge("soft").error().kind, ErrorKind::io);
  assert_false(good(node->deleted_key("soft")).has_value());
  good(other->current_version("soft"));
  const std::int64_t begin = now_ms();
  good(node->remove("soft"));
  const std::optional<DeletedKey> deleted = good(node->deleted_key("SOFT"));
  assert_true(deleted.has_value() && deleted->deleted_ms >= begin);
  assert_true(deleted->metadata->description == options.description);
  assert_int_equal(deleted->metadata->versions, 2);
  const auto all = good(other->deleted_keys());
  assert_true(std::any_of(all.begin(), all.end(),
                          [](const DeletedKey& each) { return each.metadata->name == "soft"; }));
  good(other->invalidate("soft"));
  for (Node* each : {&node, &other}) {
    assert_null(good((*each)->metadata("soft")).get());
    assert_null(good((*each)->version("soft@0")).get());
    unit::assert_contains((*each)->create("soft", aes(), nullptr).error().message,
                          "is kept until it is purged");
    assert_int_equal((*each)->roll("soft", nullptr).error().kind, ErrorKind::io);
    assert_int_equal((*each)->remove("soft").error().kind, ErrorKind::io);
    const auto names = good((*each)->names());
    assert_true(std::find(names.begin(), names.end(), "soft") == names.end());
  }
  // An audit log that fails keeps it as it is.
  const auto no = [](const KeyVersion*) -> Result<void> {
    return Error(ErrorKind::unavailable, "the audit log is full");
  };
  assert_false(other->undelete("soft", no).ok());
  assert_false(other->purge("soft", no).ok());
  good(other->undelete("soft"));
  assert_true(good(other->current_version("soft"))->material.equals(second->material.view()));
  assert_true(good(other->version("soft@0"))->material.equals(first->material.view()));
  unit::assert_text(good(other->roll("soft", nullptr))->version_name, "soft@2");
  good(other->remove("soft"));
  {
    Node careful(0, [](TrusteeOptions& o) { o.retention_days = 30; });
    auto refused = careful->purge("soft");
    assert_int_equal(refused.error().kind, ErrorKind::invalid_argument);
    unit::assert_contains(refused.error().message, "less than 30 days ago");
  }
  good(other->purge("soft"));
  assert_int_equal(other->undelete("soft").error().kind, ErrorKind::io);
  unit::assert_text(server->run("SELECT COUNT(*) FROM kms_key_version WHERE name = 'soft'"), "0");
  // The name is free; what there is now has nothing of what there was.
  const VersionPtr fresh = good(other->create("soft", aes(), nullptr));
  assert_false(fresh->material.equals(first->material.view()));
  assert_false(good(other->metadata("soft"))->description.has_value());
  assert_null(good(other->version("soft@1")).get());
}

// Nodes that missed more changes than the log has, or whose database went back in time.
void a_trimmed_log_forgets_everything(void**) {
  Node a, b(0, [](TrusteeOptions&options) { options.poll_ms = 900; });
  for (const char* name : {"trim1", "trim2"}) {
    good(a->create(name, aes(), nullptr));
    good(b->current_version(name));
  }
  server->run(
      "WITH gone AS (DELETE FROM kms_change_log), more AS (DELETE FROM kms_key_version WHERE name"
      " = 'trim1'), last AS (DELETE FROM kms_key WHERE name = 'trim1') UPDATE kms_change SET"
      " counter = counter + 5 WHERE shard = 3");
  assert_true(unit::eventually([&] { return good(b->metadata("trim1")) == nullptr; }, 5000));
  server->run(
      "WITH more AS (DELETE FROM kms_key_version WHERE name = 'trim2'), last AS (DELETE FROM"
      " kms_key WHERE name = 'trim2') UPDATE kms_change SET counter = counter - 3 WHERE shard = 3");
  assert_true(unit::eventually([&] { return good(b->metadata("trim2")) == nullptr; }, 5000));
}

void what_cannot_be_opened(void**) {
  unit::Lines lines;
  const auto refusal = [&](const std::function<void(TrusteeOptions&)>& change) {
    TrusteeOptions options = server->options();
    change(options);
    auto opened = open_trustee_store(server->uri(), options, lines, true);
    assert_false(opened.ok());
    assert_int_equal(opened.error().kind, ErrorKind::configuration);
    return opened.error().message;
  };
  const std::string other = server->dir().write("other.key", std::string(32, 'o'));
  chmod(other.c_str(), 0600);
  unit::assert_contains(refusal([&](TrusteeOptions& o) { o.seal_key_file = other; }),
                        "is not the one that the store is sealed with (file-");
  unit::assert_contains(refusal([](TrusteeOptions& o) { o.seal_key_file.clear(); }),
                        "must name the sealing key");
  unit::assert_contains(refusal([](TrusteeOptions& o) { o.require_standby = true; }),
                        "synchronous_standby_names is empty");
  unit::assert_contains(refusal([](TrusteeOptions& o) { o.ssl_mode = "prefer"; }),
                        "allowed are verify-full, disable");
  unit::assert_contains(refusal([](TrusteeOptions& o) { o.ssl_mode = "verify-full"; }),
                        "ssl.root-cert must name");
  // A server without TLS.
  unit::assert_contains(refusal([](TrusteeOptions& o) {
                          o.ssl_mode = "verify-full";
                          o.ssl_root_cert = o.seal_key_file;
                        }),
                        "127.0.0.1:");
  server->run("ALTER SYSTEM SET synchronous_commit = off");
  server->run("SELECT pg_reload_conf()");
  assert_true(unit::eventually([] { return server->run("SHOW synchronous_commit") == "off"; }));
  unit::assert_contains(refusal([](TrusteeOptions&) {}), "synchronous_commit is off");
  // A server that runs warns, and refuses changes until that is mended.
  {
    Node node;
    assert_true(node.lines.has("KMS0130"));
    auto refused = node->create("unsafe", aes(), nullptr);
    assert_int_equal(refused.error().kind, ErrorKind::unavailable);
    unit::assert_contains(refused.error().message, "synchronous_commit is off");
    server->run("ALTER SYSTEM RESET synchronous_commit");
    server->run("SELECT pg_reload_conf()");
    assert_true(unit::eventually([&] { return node->create("unsafe", aes(), nullptr).ok(); }));
    good(node->remove("unsafe"));
  }
  const int newest = good(trustee_status(server->uri(), server->options())).newest;
  server->run("INSERT INTO kms_schema (version, applied_ms) VALUES (1000, 0)");
  unit::assert_contains(refusal([](TrusteeOptions&) {}),
                        "this program knows up to " + std::to_string(newest));
  server->run("DELETE FROM kms_schema WHERE version = 1000");
  assert_false(upgrade_trustee_store(server->uri(), server->options(), true).ok());
  auto status = good(trustee_status(server->uri(), server->options()));
  assert_true(status.sealed_by_ours && status.commits.empty() && status.version == newest);
  auto read_only = good(open_trustee_store(server->uri(), server->options(), lines, true));
  assert_false(read_only->create("x", aes(), nullptr).ok());
  assert_null(good(read_only->metadata("x")).get());
}

void a_passphrase_seals_as_well(void**) {
  server->run("CREATE DATABASE second");
  TrusteeOptions options = server->options();
  options.seal_key_file.clear();
  options.seal_passphrase_file = server->dir().write("passphrase", "correct horse battery\n");
  chmod(options.seal_passphrase_file.c_str(), 0600);
  const std::string uri = "trustee://kms@127.0.0.1:" + std::to_string(server->port()) + "/second";
  unit::Lines lines;
  unit::assert_contains(open_trustee_store(uri, options, lines, true).error().message,
                        "kmsctl store init");
  const auto status = good(upgrade_trustee_store(uri, options, true));
  unit::assert_contains(status.seal_id, "passphrase-");
  auto store = good(open_trustee_store(uri, options, lines, false));
  const VersionPtr made = good(store->create("k", aes(), nullptr));
  auto again = good(open_trustee_store(uri, options, lines, true));
  assert_true(good(again->current_version("k"))->material.equals(made->material.view()));
  server->dir().write("passphrase", "wrong horse battery\n");
  unit::assert_contains(open_trustee_store(uri, options, lines, true).error().message,
                        "is not the one that the store is sealed with");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(operations),
      cmocka_unit_test(approval_comes_before_the_key),
      cmocka_unit_test(import_takes_a_key_as_it_is),
      cmocka_unit_test(nodes_see_each_other),
      cmocka_unit_test(siblings_see_each_other_at_once),
      cmocka_unit_test(races_have_one_winner),
      cmocka_unit_test(edited_rows_are_refused),
      cmocka_unit_test(deleted_keys_are_kept),
      cmocka_unit_test(a_trimmed_log_forgets_everything),
      cmocka_unit_test(what_cannot_be_opened),
      cmocka_unit_test(a_passphrase_seals_as_well),
  };
  return unit::run_on_a_store(tests);
}
