// SPDX-License-Identifier: Apache-2.0
// The store in PostgreSQL as far as it needs no server: its URI, its rows and their seals, its
// memory, and how processes tell each other of changes.
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "keystore/postgres/cache.h"
#include "keystore/postgres/rows.h"
#include "keystore/postgres/schema.h"
#include "keystore/postgres/shared_changes.h"
#include "temp_dir.h"

namespace {

using namespace kms;
using namespace kms::postgres;

void uris(void**) {
  auto one = parse_uri("trustee://kms_user@db1.example.org/keys");
  assert_true(one.ok());
  unit::assert_text(one->user, "kms_user");
  unit::assert_text(one->database, "keys");
  assert_int_equal(one->hosts.size(), 1);
  unit::assert_text(one->hosts[0].name, "db1.example.org");
  unit::assert_text(one->hosts[0].port, "5432");
  auto more = parse_uri("trustee://u@a:1,[fe80::1]:65535,10.0.0.1/d");
  assert_true(more.ok());
  assert_int_equal(more->hosts.size(), 3);
  unit::assert_text(more->hosts[1].name, "fe80::1");
  unit::assert_text(more->hosts[1].port, "65535");
  for (const char* bad :
       {"trustee:", "trustee://", "trustee://u@h", "trustee://u@h/", "trustee://h/d",
        "trustee://@h/d", "trustee://u@/d", "trustee://u@h,/d", "trustee://u@h:0/d",
        "trustee://u@h:65536/d", "trustee://u@h:x/d", "trustee://u@h:/d", "trustee://u@[::1/d",
        "trustee://u@[h]/d", "trustee://u@h/d?sslmode=disable", "trustee://u@h host=x/d",
        "postgres://u@h/d", "trustee://u@h/d/e", "trustee://u@[::1]x/d"})
    assert_int_equal(parse_uri(bad).error().kind, ErrorKind::configuration);
  auto password = parse_uri("trustee://u:s3cr@et@h/d");
  unit::assert_contains(password.error().message, "password-file");
  assert_false(unit::contains(password.error().message, "s3cr"));
}

Vault vault_of(std::uint8_t byte) {
  return Vault(std::move(*seal::make_sealing_key("file", Secret(Bytes(32, byte)))));
}

KeyRow a_row(const Vault& vault) {
  KeyRow row;
  row.name = "k";
  row.incarnation = "i";
  row.cipher = "AES/CTR/NoPadding";
  row.bit_length = 128;
  row.details = details_of("text", {{"a", "1"}});
  row.created_ms = 1;
  row.versions = 1;
  row.state = "active";
  row.revision = 1;
  assert_true(vault.seal(row).ok());
  return row;
}

using Edit = std::function<void(KeyRow&)>;
const std::vector<Edit>& edits() {
  static const std::vector<Edit> all = {
      [](KeyRow& r) { r.name = "l"; }, [](KeyRow& r) { r.incarnation = "j"; },
      [](KeyRow& r) { r.cipher = "DES"; }, [](KeyRow& r) { r.bit_length = 256; },
      [](KeyRow& r) { r.details = "{}"; }, [](KeyRow& r) { r.created_ms = 2; },
      [](KeyRow& r) { r.versions = 2; }, [](KeyRow& r) { r.state = "deleted"; },
      [](KeyRow& r) { r.deleted_ms = 0; }, [](KeyRow& r) { r.revision = 2; },
      [](KeyRow& r) { r.tag[5] ^= 1; }, [](KeyRow& r) { r.tag.clear(); },
      [](KeyRow& r) { r.wrapped_key[20] ^= 1; },
      // What moves from one field to the next makes another row.
      [](KeyRow& r) { r.name = "", r.incarnation = "ki"; }};
  return all;
}

void an_edited_key_row_is_refused(void**) {
  const Vault vault = vault_of(1);
  const KeyRow row = a_row(vault);
  assert_true(vault.check(row).ok());
  for (const Edit& edit : edits()) {
    KeyRow changed = row;
    edit(changed);
    auto checked = vault.check(changed);
    assert_false(checked.ok());
    assert_int_equal(checked.error().kind, ErrorKind::corrupt);
    unit::assert_contains(checked.error().message, "of kms_key was changed");
    unit::assert_contains(checked.error().message, "row " + changed.name);
  }
  auto other = vault_of(2).check(row);
  assert_false(other.ok());
  unit::assert_contains(other.error().message, "the one that is configured is file-");
  // A change of ours keeps the row's data key.
  KeyRow rolled = row;
  ++rolled.versions;
  assert_true(vault.seal(rolled).ok());
  assert_true(vault.check(rolled).ok());
  assert_true(rolled.wrapped_key == row.wrapped_key);
}

void an_edited_version_is_refused(void**) {
  const Vault vault = vault_of(1);
  const KeyRow row = a_row(vault);
  const Secret material(std::string_view("0123456789abcdef"));
  auto sealed = vault.seal_version(row, 3, 77, material);
  assert_true(sealed.ok());
  assert_true(vault.open_version(row, *sealed)->equals(material.view()));
  assert_true(std::search(sealed->sealed.begin(), sealed->sealed.end(), material.view().begin(),
                          material.view().end()) == sealed->sealed.end());
  const auto refused = [&](const KeyRow& key, const VersionRow& version) {
    auto opened = vault.open_version(key, version);
    assert_false(opened.ok());
    assert_int_equal(opened.error().kind, ErrorKind::corrupt);
    unit::assert_contains(opened.error().message, "of kms_key_version was changed");
  };
  for (std::size_t i = 0; i < 6; ++i) {  // those that a version is bound to
    KeyRow changed = row;
    edits()[i](changed);
    refused(changed, *sealed);
  }
  VersionRow changed = *sealed;
  changed.version = 4;
  refused(row, changed);
  changed = *sealed;
  changed.created_ms = 78;
  refused(row, changed);
  changed = *sealed;
  changed.sealed[15] ^= 1;
  refused(row, changed);
  auto other = vault.seal_version(row, 4, 77, material);
  changed = *sealed;
  changed.sealed = other->sealed;
  refused(row, changed);
  changed = *sealed;
  changed.wrapped_key = other->wrapped_key;
  refused(row, changed);
  changed = *sealed;
  changed.seal_id = "file-0";
  unit::assert_contains(vault.open_version(row, changed).error().message, "file-0");
}

void metadata_survives(void**) {
  const Vault vault = vault_of(1);
  KeyRow row = a_row(vault);
  const std::map<std::string, std::string> attributes = {
      {"key.acl.name", "x"}, {"\u00e9", "\u6f22\"\\"}, {"empty", ""}};
  row.details = details_of(std::string("with \0 NUL", 10), attributes);
  assert_true(row.details.find('\0') == std::string::npos);
  auto metadata = metadata_of(row);
  assert_true(metadata.ok());
  assert_true((*metadata)->attributes == attributes);
  assert_true((*metadata)->description == std::string("with \0 NUL", 10));
  assert_int_equal((*metadata)->versions, 1);
  row.details = details_of(std::nullopt, {});
  assert_false((*metadata_of(row))->description.has_value());
  row.details = "[";
  assert_int_equal(metadata_of(row).error().kind, ErrorKind::corrupt);
}

void commits_that_are_not_safe(void**) {
  unit::assert_text(commit_problem("on", "s1", true), "");
  unit::assert_text(commit_problem("remote_apply", "s1", true), "");
  unit::assert_text(commit_problem("local", "", false), "");
  unit::assert_text(commit_problem("", "", false), "");
  for (const bool standby : {true, false})
    unit::assert_contains(commit_problem("off", "s1", standby), "synchronous_commit is off");
  unit::assert_contains(commit_problem("on", "", true), "synchronous_standby_names is empty");
  unit::assert_contains(commit_problem("local", "s1", true), "synchronous_commit is local");
  unit::assert_contains(commit_problem("remote_write", "s1", true), "remote_write");
}

void processes_tell_each_other(void**) {
  auto shared = SharedChanges::map();
  assert_true(shared.ok());
  SharedChanges& changes = **shared;
  assert_int_equal(changes.count(), 0);
  const pid_t child = fork();
  if (child == 0) {
    for (std::uint64_t i = 1; i <= 10; ++i) changes.publish(i * 100);
    _exit(0);
  }
  int status = 1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(changes.count(), 10);
  for (std::uint64_t i = 1; i <= 10; ++i) assert_int_equal(changes.change(i).value(), i * 100);
  assert_false(changes.change(11).has_value());
  for (std::uint64_t i = 0; i < SharedChanges::kSlots; ++i) changes.publish(7);
  assert_false(changes.change(10).has_value());
  assert_int_equal(changes.change(11).value(), 7);
  assert_true(name_hash("a") != name_hash("b"));
}

CachedKeyPtr cached(const std::string& name, int versions) {
  auto key = std::make_shared<CachedKey>();
  key->name = name;
  key->metadata = std::make_shared<KeyMetadata>();
  for (int i = 0; i < versions; ++i)
    key->versions.push_back({i, std::make_shared<KeyVersion>(), std::nullopt});
  return key;
}

void memory_forgets_what_changed(void**) {
  KeyCache cache;
  assert_null(cache.find(1, "a"));
  cache.put(1, cached("a", 1), cache.epoch());
  cache.put(2, cached("b", 100), cache.epoch());
  assert_non_null(cache.find(1, "a"));
  assert_non_null(cache.find_mine(1, "a"));
  assert_null(cache.find(1, "another of the same hash"));
  assert_null(cache.find_mine(1, "another of the same hash"));
  cache.drop(1);
  assert_null(cache.find_mine(1, "a"));
  assert_null(cache.find(1, "a"));
  assert_null(cache.dropped(1, "a").get());
  assert_non_null(cache.find(2, "b"));
  cache.drop(2);
  assert_null(cache.find(2, "b"));
  assert_int_equal(cache.dropped(2, "b")->versions.size(), 100);
  cache.drop_all();
  assert_null(cache.dropped(2, "b").get());
}

void memory_keeps_what_was_read_while_others_changed(void**) {
  KeyCache cache;
  const std::uint64_t before = cache.epoch();
  cache.drop(9);
  assert_non_null(cache.put(1, cached("a", 1), before));
  assert_non_null(cache.find(1, "a"));
  // What was read before it was dropped itself is shown once and not kept, whenever that was.
  assert_non_null(cache.put(9, cached("i", 1), before));
  assert_null(cache.find(9, "i"));
  for (std::uint64_t other = 10; other < 100; ++other) cache.drop(other);
  assert_non_null(cache.put(9, cached("i", 1), before));
  assert_null(cache.find(9, "i"));
  cache.put(9, cached("i", 1), cache.epoch());
  assert_non_null(cache.find(9, "i"));
  const std::uint64_t then = cache.epoch();
  cache.drop_all();
  assert_non_null(cache.put(1, cached("a", 1), then));
  assert_null(cache.find(1, "a"));
}

void names_follow_until_all_is_forgotten(void**) {
  KeyCache cache;
  KeyCache::Names names = cache.names();
  assert_null(names.list.get());
  names.list = std::make_shared<const std::vector<std::string>>(1, "a");
  names.epoch = cache.epoch();
  cache.put_names(names);
  cache.drop(9);
  assert_ptr_equal(cache.names().list.get(), names.list.get());
  assert_true(cache.names().epoch != cache.epoch());  // what changed is to be looked up
  cache.drop_all();
  assert_null(cache.names().list.get());
  cache.put_names(names);  // read before that
  assert_null(cache.names().list.get());
}

void names_that_nobody_has_do_not_fill_memory(void**) {
  KeyCache cache;
  cache.put(0, cached("real", 1), cache.epoch());
  for (std::uint64_t i = 1; i <= 25000; ++i) {
    auto absent = std::make_shared<CachedKey>();
    absent->name = std::to_string(i);
    cache.put(i, absent, cache.epoch());
  }
  assert_null(cache.find(1, "1"));
  assert_non_null(cache.find(25000, "25000"));
  assert_non_null(cache.find(0, "real"));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(uris),
      cmocka_unit_test(an_edited_key_row_is_refused),
      cmocka_unit_test(an_edited_version_is_refused),
      cmocka_unit_test(metadata_survives),
      cmocka_unit_test(commits_that_are_not_safe),
      cmocka_unit_test(processes_tell_each_other),
      cmocka_unit_test(memory_forgets_what_changed),
      cmocka_unit_test(memory_keeps_what_was_read_while_others_changed),
      cmocka_unit_test(names_follow_until_all_is_forgotten),
      cmocka_unit_test(names_that_nobody_has_do_not_fill_memory),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
