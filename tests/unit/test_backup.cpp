// SPDX-License-Identifier: Apache-2.0
// Key records and backup files: what goes in comes out; nothing comes out of a damaged one.
#include <algorithm>

#include "keystore/backup_file.h"
#include "recipient_util.h"

namespace {

using namespace kms;
using unit::Recipient;
using unit::TempDir;

template <class T>
T good(Result<T> result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
  return std::move(result).value();
}
void good(Result<void> result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
}

KeyRecord record(const std::string& name, int versions = 2, std::size_t material = 16) {
  KeyRecord key;
  key.metadata.name = name;
  key.metadata.cipher = "AES/CTR/NoPadding";
  key.metadata.bit_length = static_cast<int>(8 * material);
  key.metadata.created_ms = 1700000000000;
  key.metadata.versions = versions;
  for (int n = 0; n < versions; ++n)
    key.versions.push_back({n, 1700000000000 + n,
                            Secret(Bytes(material, static_cast<std::uint8_t>(name.back() + n)))});
  return key;
}

// Everything that could get in the way of JSON.
KeyRecord odd_record() {
  KeyRecord key = record("odd", 3, 5);
  key.metadata.description = std::string("a \"quote\", \\, \n and \0 NUL", 25);
  key.metadata.attributes = {{"material", "not the material"},
                             {"", "empty name"},
                             {"\"material\": \"", "\"material\": \""},
                             {"key.acl.name", "\xc3\xa4\xe2\x82\xac"}};
  key.deleted_ms = 1700000000500;
  key.state = "strange";
  key.versions.erase(key.versions.begin());  // version 0 is not there
  key.versions[0].material = Secret();
  return key;
}

std::vector<KeyRecord> list(KeyRecord key) {
  std::vector<KeyRecord> keys;
  keys.push_back(std::move(key));
  return keys;
}

KeyRecord copy(const KeyRecord& key) {
  auto keys = list(KeyRecord{key.metadata, key.state, key.deleted_ms, {}});
  for (const auto& v : key.versions)
    keys[0].versions.push_back({v.number, v.created_ms, v.material.clone()});
  return std::move(keys[0]);
}

void records_come_back_as_they_were(void**) {
  std::vector<KeyRecord> keys;
  keys.push_back(record("plain"));
  keys.push_back(odd_record());
  keys.push_back(record("none", 0));
  const Secret text = records_text(hadoop::JsonPtr(json_object()), keys);
  const auto parsed = good(parse_records(text.view()));
  assert_int_equal(parsed.keys.size(), 3);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    unit::assert_text(differences(keys[i], parsed.keys[i]), "");
    assert_true(good(digest_of(keys[i])) == good(digest_of(parsed.keys[i])));
    unit::assert_text(parsed.keys[i].metadata.name, keys[i].metadata.name);
  }
}

void every_difference_is_seen(void**) {
  const std::vector<std::pair<std::string, std::function<void(KeyRecord&)>>> changes = {
      {"cipher", [](KeyRecord& k) { k.metadata.cipher = "x"; }},
      {"length", [](KeyRecord& k) { k.metadata.bit_length = 1; }},
      {"description", [](KeyRecord& k) { k.metadata.description = ""; }},
      {"attributes", [](KeyRecord& k) { k.metadata.attributes["a"] = "b"; }},
      {"date", [](KeyRecord& k) { ++k.metadata.created_ms; }},
      {"count of versions", [](KeyRecord& k) { ++k.metadata.versions; }},
      {"state", [](KeyRecord& k) { k.state = "x"; }},
      {"deletion", [](KeyRecord& k) { k.deleted_ms = 0; }},
      {"versions that are there", [](KeyRecord& k) { k.versions.pop_back(); }},
      {"material of k@1", [](KeyRecord& k) { k.versions[1].material = Secret(Bytes(16, 1)); }},
      {"date of k@0", [](KeyRecord& k) { ++k.versions[0].created_ms; }},
  };
  const KeyRecord key = record("k");
  for (const auto& [what, change] : changes) {
    KeyRecord other = copy(key);
    change(other);
    unit::assert_text(differences(key, other), what);
    assert_true(good(digest_of(key)) != good(digest_of(other)));
  }
  const std::string shown = hadoop::dump_json(good(described(key)).get());
  unit::assert_contains(shown, "\"sha256\"");
  assert_false(unit::contains(shown, "a2tra2tra2tra2tra2traw"));  // of 16 times 'k'
  // Equal materials of two keys do not show.
  KeyRecord twin = copy(key);
  twin.metadata.name = "l";
  const auto digest = [](const KeyRecord& k) {
    const auto json = good(described(k));
    return std::string(hadoop::text_of(
        json_object_get(json_array_get(json_object_get(json.get(), "material"), 0), "sha256")));
  };
  assert_true(digest(key) != digest(twin));
}

void bad_records_are_refused(void**) {
  for (const char* text :
       {"", "[]", "{}", "{\"keys\": 1}", "{\"keys\": [1]}", "{\"keys\": [{\"name\": \"k\"}]}"})
    assert_int_equal(parse_records(as_bytes(text)).error().kind, ErrorKind::corrupt);
  KeyRecord wrong = record("k");
  std::swap(wrong.versions[0].number, wrong.versions[1].number);
  KeyRecord beyond = record("k");
  beyond.metadata.versions = 1;
  for (const KeyRecord* key : {&wrong, &beyond}) {
    const Secret text = records_text(hadoop::JsonPtr(json_object()), list(copy(*key)));
    unit::assert_contains(parse_records(text.view()).error().message, "out of order");
  }
}

// A backup of n keys that fill several parts; gives its text.
std::string write_backup(const std::string& file, const std::vector<std::string>& certificates,
                         int n, int versions = 2) {
  auto writer = good(BackupWriter::create(file, good(CmsRecipients::load(certificates)), "here"));
  for (int i = 0; i < n; ++i) good(writer.add(record("key-" + std::to_string(i), versions)));
  writer.leave_out("broken");
  const BackupTotals totals = good(writer.finish());
  assert_int_equal(totals.keys, n);
  return unit::read_file(file);
}

struct Read {
  std::vector<KeyRecord> keys;
  BackupTotals totals;
};
Result<Read> read_backup(const std::string& file, const CmsKey& key) {
  auto reader = BackupReader::open(file, key);
  if (!reader.ok()) return std::move(reader).error();
  Read out;
  for (;;) {
    auto part = reader->next();
    if (!part.ok()) return std::move(part).error();
    if (!part->has_value()) break;
    for (KeyRecord& one : **part) out.keys.push_back(std::move(one));
  }
  out.totals = reader->totals();
  return out;
}

void each_recipient_can_open_it(void**) {
  const TempDir dir;
  const Recipient rsa(dir, "rsa", false), ec(dir, "ec", true, "word"), other(dir, "other", true),
      more(dir, "more", false);
  const std::string file = dir.path("backup");
  const std::string text = write_backup(file, {rsa.certificate, ec.certificate}, 3000);
  struct stat st;
  assert_int_equal(stat(file.c_str(), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_int_not_equal(stat((file + ".part").c_str(), &st), 0);
  const Secret password(std::string_view("word"));
  assert_false(CmsKey::load(ec.key, nullptr).ok());
  for (const CmsKey& key :
       {good(CmsKey::load(rsa.key, nullptr)), good(CmsKey::load(ec.key, &password))}) {
    const Read read = good(read_backup(file, key));
    assert_true(read.totals.parts > 2);
    assert_int_equal(read.keys.size(), 3000);
    assert_int_equal(read.totals.versions, 6000);
    unit::assert_text(read.totals.source, "here");
    unit::assert_text(read.totals.left_out.at(0), "broken");
    for (std::size_t i = 0; i < 3000; ++i)
      unit::assert_text(differences(record("key-" + std::to_string(i)), read.keys[i]), "");
  }
  for (const Recipient* none : {&other, &more}) {
    const auto refused = read_backup(file, good(CmsKey::load(none->key, nullptr)));
    assert_int_equal(refused.error().kind, ErrorKind::wrong_password);
    unit::assert_contains(refused.error().message, "not encrypted to this private key");
  }
  // Not over what is there; nothing is left of one that was not finished.
  assert_false(
      BackupWriter::create(file, good(CmsRecipients::load({{rsa.certificate}})), "x").ok());
  {
    auto given_up = good(BackupWriter::create(dir.path("half"),
                                              good(CmsRecipients::load({{rsa.certificate}})), "x"));
    good(given_up.add(record("k")));
    assert_int_equal(stat(dir.path("half.part").c_str(), &st), 0);
  }
  assert_int_not_equal(stat(dir.path("half.part").c_str(), &st), 0);
  assert_int_not_equal(stat(dir.path("half").c_str(), &st), 0);
}

std::vector<std::string> blocks_of(const std::string& text) {
  std::vector<std::string> blocks;
  constexpr std::string_view kBegin = "-----BEGIN CMS-----";
  for (std::size_t at = text.find(kBegin); at != std::string::npos;) {
    const std::size_t next = text.find(kBegin, at + 1);
    blocks.push_back(text.substr(at, next - at));
    at = next;
  }
  return blocks;
}

void parts_are_in_their_places(void**) {
  const TempDir dir;
  const Recipient ec(dir, "ec", true);
  const CmsKey key = good(CmsKey::load(ec.key, nullptr));
  const auto mine = blocks_of(write_backup(dir.path("a"), {ec.certificate}, 3000));
  const auto others = blocks_of(write_backup(dir.path("b"), {ec.certificate}, 3000));
  assert_true(mine.size() > 2);
  const auto refusal = [&](const std::vector<std::string>& blocks) {
    std::string text;
    for (const std::string& block : blocks) text += block;
    auto read = read_backup(dir.write("changed", text), key);
    if (read.ok()) _fail("a changed backup was read", 0);
    assert_int_equal(read.error().kind, ErrorKind::corrupt);
    return read.error().message;
  };
  unit::assert_contains(refusal({}), "there is no backup in it");
  auto changed = mine;
  changed.pop_back();
  unit::assert_contains(refusal(changed), "its end is missing");
  changed = mine;
  changed.erase(changed.begin());
  unit::assert_contains(refusal(changed), "not in its place");
  changed = mine;
  std::swap(changed[0], changed[1]);
  unit::assert_contains(refusal(changed), "not in its place");
  changed = mine;
  changed[1] = others[1];
  unit::assert_contains(refusal(changed), "of another backup");
  changed = mine;
  changed.push_back(mine.back());
  unit::assert_contains(refusal(changed), "follows its end");
}

// A bit anywhere, an end anywhere: an error, or what it was, where the bit is of no meaning.
void damage_is_an_error(void**) {
  const TempDir dir;
  const Recipient ec(dir, "ec", true);
  const CmsKey key = good(CmsKey::load(ec.key, nullptr));
  const std::string text = write_backup(dir.path("a"), {ec.certificate}, 3, 1);
  const std::size_t step = std::max<std::size_t>(1, text.size() / 600);
  int refused = 0, read = 0;
  for (std::size_t at = 0; at < text.size(); at += step) {
    std::string changed = text;
    changed[at] = static_cast<char>(changed[at] ^ 1 << at % 7);
    auto got = read_backup(dir.write("changed", changed), key);
    ++(got.ok() ? read : refused);
    if (got.ok()) {
      assert_int_equal(got->keys.size(), 3);
      for (std::size_t i = 0; i < 3; ++i)
        unit::assert_text(differences(record("key-" + std::to_string(i), 1), got->keys[i]), "");
    }
    // Without its end of line the last line is whole.
    const auto cut = read_backup(dir.write("changed", text.substr(0, at)), key);
    assert_true(!cut.ok() || at == text.size() - 1);
  }
  assert_true(refused > 20 * read);
}

void recipients_that_cannot_be(void**) {
  const TempDir dir;
  const Recipient ec(dir, "ec", true);
  assert_int_equal(CmsRecipients::load({}).error().kind, ErrorKind::configuration);
  for (const std::string& file : {dir.path("none"), dir.write("text", "no PEM"), ec.key})
    unit::assert_contains(CmsRecipients::load({{file}}).error().message, file);
  for (const std::string& file : {dir.path("none"), ec.certificate})
    unit::assert_contains(CmsKey::load(file, nullptr).error().message, file);
  chmod(ec.key.c_str(), 0644);
  unit::assert_contains(CmsKey::load(ec.key, nullptr).error().message, "others may read");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(records_come_back_as_they_were),
      cmocka_unit_test(every_difference_is_seen),
      cmocka_unit_test(bad_records_are_refused),
      cmocka_unit_test(each_recipient_can_open_it),
      cmocka_unit_test(parts_are_in_their_places),
      cmocka_unit_test(damage_is_an_error),
      cmocka_unit_test(recipients_that_cannot_be),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
