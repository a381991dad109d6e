// SPDX-License-Identifier: Apache-2.0
// Backup and restore on a real PostgreSQL.
#include <stdexcept>

#include "keystore/postgres/backup.h"
#include "keystore/postgres/bulk.h"
#include "recipient_util.h"
#include "trustee_node.h"

namespace {

using namespace kms;
using unit::aes;
using unit::good;
using unit::Node;
using unit::Recipient;
using unit::server;
using unit::TempDir;

// Another store on the same server, sealed by another key.
struct Elsewhere {
  std::string uri;
  TrusteeOptions options;
  explicit Elsewhere(const TempDir& dir, const std::string& database) {
    server->run("CREATE DATABASE " + database);
    uri = server->uri();
    uri.replace(uri.rfind('/') + 1, std::string::npos, database);
    options = server->options();
    options.seal_key_file = dir.write(database + ".key", std::string(32, 'z'));
    chmod(options.seal_key_file.c_str(), 0600);
    good(upgrade_trustee_store(uri, options, true));
  }
  std::unique_ptr<KeyStore> open(unit::Lines& lines) const {
    auto store = good(open_trustee_store(uri, options, lines, false));
    good(store->attach());
    return store;
  }
  std::int64_t keys() const {
    return good(postgres::BulkAccess::open(uri, options, false)).count().value();
  }
};

std::map<std::string, std::string> all_of(const std::string& uri, const TrusteeOptions& options) {
  auto store = good(postgres::BulkAccess::open(uri, options, false));
  std::map<std::string, std::string> out;
  good(store.in_snapshot([&]() -> Result<void> {
    for (std::string last;;) {
      auto keys = good(store.keys_after(last, [](const std::string& what, const std::string& why) {
        _fail((what + ": " + why).c_str(), 0);
      }));
      if (keys.empty()) return {};
      for (const KeyRecord& key : keys)
        out[key.metadata.name] = hadoop::dump_json(good(described(key)).get());
    }
  }));
  return out;
}

void fill(Node& node, int n) {
  for (int i = 0; i < n; ++i) {
    const std::string name = "b" + std::to_string(i);
    KeyOptions options = aes(i % 2 == 0 ? 128 : 256);
    options.attributes = {{"material", "m"}};
    if (i % 3 == 0) options.description = "number " + std::to_string(i);
    good(node->create(name, options, nullptr));
    for (int version = 0; version < i % 4; ++version) good(node->roll(name, nullptr));
    if (i % 5 == 4) good(node->remove(name));
  }
}

void restored_as_it_was(void**) {
  const TempDir dir;
  const Recipient recipient(dir, "custodian", false);
  Node node;
  fill(node, 25);
  const auto before = all_of(server->uri(), server->options());
  assert_int_equal(before.size(), 25);
  const BackupTotals made = good(backup_trustee_store(server->uri(), server->options(),
                                                      dir.path("a"), {{recipient.certificate}}));
  assert_int_equal(made.keys, 25);
  assert_int_equal(made.deleted, 5);
  // Another sealing key, and nothing of the old store.
  const Elsewhere to(dir, "restored");
  RestoreOptions options;
  options.file = dir.path("a");
  options.key_file = recipient.key;
  unit::Lines lines;
  const auto reader = to.open(lines);
  assert_null(good(reader->metadata("b0")).get());
  Restored done = good(restore_trustee_store(to.uri, to.options, options));
  assert_int_equal(done.restored, 25);
  assert_int_equal(done.verified, 25);
  assert_true(all_of(to.uri, to.options) == before);
  // A node that runs notices.
  assert_true(unit::eventually([&] { return good(reader->metadata("b0")) != nullptr; }, 5000));
  assert_true(good(reader->deleted_key("b4")).has_value());
  good(reader->undelete("b4"));
  unit::assert_text(good(reader->roll("b7", nullptr))->version_name, "b7@4");
  reader->detach();
  // Once more: it is another store now.
  unit::assert_contains(restore_trustee_store(to.uri, to.options, options).error().message,
                        "other keys of the same names: b4, b7");
  options.merge = true;
  server->run("DELETE FROM kms_key");  // of the old store
  done = good(restore_trustee_store(to.uri, to.options, options));
  assert_int_equal(done.restored, 0);
  assert_int_equal(done.already_there, 23);
  assert_int_equal(done.different.size(), 2);
  assert_true(all_of(to.uri, to.options).at("b4") != before.at("b4"));
  server->run("DELETE FROM kms_key_version");
}

// It stops after each transaction, and before and after what the store was asked to keep.
void goes_on_after_an_interruption(void**) {
  const TempDir dir;
  const Recipient recipient(dir, "custodian", true);
  Node node;
  {
    auto store = good(postgres::BulkAccess::open(server->uri(), server->options(), true));
    std::vector<KeyRecord> keys;
    for (int i = 0; i < 5000; ++i) {
      KeyRecord key;
      key.metadata = {"many-" + std::to_string(i), "AES/CTR/NoPadding", 128, {}, {}, i, 1};
      key.versions.push_back({0, i, Secret(Bytes(16, static_cast<std::uint8_t>(i)))});
      keys.push_back(std::move(key));
    }
    std::vector<const KeyRecord*> pointers;
    for (const KeyRecord& key : keys) pointers.push_back(&key);
    good(store.insert(pointers));
    assert_int_equal(store.insert({pointers[0]}).error().kind, ErrorKind::io);
  }
  good(backup_trustee_store(server->uri(), server->options(), dir.path("a"),
                            {{recipient.certificate}}));
  const Elsewhere to(dir, "interrupted");
  RestoreOptions options;
  options.file = dir.path("a");
  options.key_file = recipient.key;
  int interruptions = 0;
  for (bool through = false; !through;) {
    const std::int64_t before = to.keys();
    try {
      const Restored done = good(restore_trustee_store(
          to.uri, to.options, options, [&](std::string_view what, std::int64_t, std::int64_t) {
            if (what == "restored" && to.keys() > before) throw std::runtime_error("killed");
          }));
      assert_int_equal(done.already_there, before);
      assert_int_equal(done.verified, 5000);
      through = true;
    } catch (const std::runtime_error&) {
      ++interruptions;
    }
  }
  assert_true(interruptions >= 2);
  assert_true(all_of(to.uri, to.options) == all_of(server->uri(), server->options()));
  // A key of somebody else: refused, unless it is to be merged.
  unit::Lines lines;
  const auto other = to.open(lines);
  good(other->create("theirs", aes(), nullptr));
  unit::assert_contains(restore_trustee_store(to.uri, to.options, options).error().message,
                        "it has 1 keys that are not in the backup");
  options.merge = true;
  assert_int_equal(good(restore_trustee_store(to.uri, to.options, options)).already_there, 5000);
  assert_non_null(good(other->metadata("theirs")).get());
  other->detach();
  for (const char* table : {"kms_key", "kms_key_version"})
    server->run("DELETE FROM " + std::string(table));
}

// The state of one moment: what is changed meanwhile is not in it.
void a_snapshot(void**) {
  const TempDir dir;
  const Recipient recipient(dir, "custodian", true);
  Node node;
  for (int i = 0; i < 1200; ++i) good(node->create("s" + std::to_string(1000 + i), aes(), nullptr));
  bool changed = false;
  const BackupTotals made = good(backup_trustee_store(
      server->uri(), server->options(), dir.path("a"), {{recipient.certificate}},
      [&](std::string_view, std::int64_t done, std::int64_t all) {
        assert_int_equal(all, 1200);
        if (changed || done == all) return;
        changed = true;
        good(node->create("s9", aes(), nullptr));
        good(node->roll("s2199", nullptr));
        good(node->remove("s2198"));
      }));
  assert_true(changed);
  assert_int_equal(made.keys, 1200);
  assert_int_equal(made.versions, 1200);
  assert_int_equal(made.deleted, 0);
}

void damage_is_left_out_and_named(void**) {
  const TempDir dir;
  const Recipient recipient(dir, "custodian", true);
  Node node;
  for (const char* name : {"d-good", "d-row", "d-version"}) {
    good(node->create(name, aes(), nullptr));
    good(node->roll(name, nullptr));
  }
  server->run("UPDATE kms_key SET details = '{}' WHERE name = 'd-row'");
  server->run("UPDATE kms_key_version SET created_ms = 1 WHERE name = 'd-version' AND version = 0");
  const BackupTotals made = good(backup_trustee_store(server->uri(), server->options(),
                                                      dir.path("a"), {{recipient.certificate}}));
  assert_int_equal(made.left_out.size(), 2);
  unit::assert_contains(made.left_out[0] + made.left_out[1], "d-row");
  unit::assert_contains(made.left_out[0] + made.left_out[1], "d-version@0");
  const Elsewhere to(dir, "damaged");
  RestoreOptions options;
  options.file = dir.path("a");
  options.key_file = recipient.key;
  assert_int_equal(good(restore_trustee_store(to.uri, to.options, options)).backup.left_out.size(),
                   2);
  unit::Lines lines;
  const auto restored = to.open(lines);
  assert_int_equal(good(restored->versions("d-version")).size(), 1);
  assert_int_equal(good(restored->metadata("d-version"))->versions, 2);
  assert_null(good(restored->metadata("d-row")).get());
  restored->detach();
}

void nothing_is_written_of_a_bad_file(void**) {
  const TempDir dir;
  const Recipient recipient(dir, "custodian", true), other(dir, "other", true);
  const Elsewhere to(dir, "untouched");
  good(backup_trustee_store(server->uri(), server->options(), dir.path("a"),
                            {{recipient.certificate}}));
  const std::string text = unit::read_file(dir.path("a"));
  RestoreOptions options;
  options.key_file = recipient.key;
  std::string flipped = text;
  flipped[text.size() / 2] = static_cast<char>(flipped[text.size() / 2] == 'A' ? 'B' : 'A');
  for (const std::string& bad : {flipped, text.substr(0, text.size() - 40), text + text}) {
    options.file = dir.write("bad", bad);
    assert_int_equal(restore_trustee_store(to.uri, to.options, options).error().kind,
                     ErrorKind::corrupt);
  }
  options.file = dir.path("a");
  options.key_file = other.key;
  assert_int_equal(restore_trustee_store(to.uri, to.options, options).error().kind,
                   ErrorKind::wrong_password);
  assert_int_equal(to.keys(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(restored_as_it_was),
      cmocka_unit_test(goes_on_after_an_interruption),
      cmocka_unit_test(a_snapshot),
      cmocka_unit_test(damage_is_left_out_and_named),
      cmocka_unit_test(nothing_is_written_of_a_bad_file),
  };
  return unit::run_on_a_store(tests);
}
