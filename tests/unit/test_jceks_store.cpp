// SPDX-License-Identifier: Apache-2.0
// The operations of the store in one process: Hadoop's rules, messages and what ends up in the
// file.
#include <sys/stat.h>

#include <map>
#include <random>

#include "jceks_util.h"
#include "keystore/jceks/key_codec.h"

using namespace kms;
using namespace kms::jceks;
using unit::aes;
using unit::assert_error;
using unit::assert_text;
using unit::Log;
using unit::must;
using unit::open_or_fail;
using unit::TempDir;

namespace {

Secret key_of(std::string_view hex) {
  return Secret(unit::from_hex(hex));
}

constexpr char kHex128[] = "000102030405060708090a0b0c0d0e0f";

void create_and_find(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  assert_false(unit::exists(path));
  assert_true(store->names()->empty());
  KeyOptions options = aes();
  options.description = "d";
  options.attributes = {{"key.acl.name", "x"}, {"b", "\xC3\xA9"}};
  const Secret material = key_of(kHex128);
  const VersionPtr made = *store->create("me/up x", options, &material);
  assert_text(made->version_name, "me/up x@0");
  assert_text(made->name, "me/up x");
  assert_true(unit::exists(path));
  // In this process, and for one that opens the file.
  for (int i = 0; i < 2; ++i) {
    assert_true(*store->names() == std::vector<std::string>{"me/up x"});
    const MetadataPtr m = *store->metadata("me/up x");
    assert_text(m->name, "me/up x");
    assert_text(m->cipher, "AES/CTR/NoPadding");
    assert_int_equal(m->bit_length, 128);
    assert_text(*m->description, "d");
    assert_true(m->attributes == options.attributes);
    assert_int_equal(m->versions, 1);
    assert_true(m->created_ms > 1700000000000);
    const VersionPtr v = *store->version("me/up x@0");
    assert_text(unit::to_hex(v->material.view()), kHex128);
    assert_ptr_equal((*store->current_version("me/up x")).get(), v.get());
    store = open_or_fail(path, log);
  }
  struct stat st;
  assert_int_equal(::stat(path.c_str(), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(::stat(dir.path(".ks.lock").c_str(), &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_false(unit::exists(dir.path(".ks.tmp")));
}

void missing_is_no_error(void**) {
  TempDir dir;
  Log log;
  auto store = open_or_fail(dir.path("ks"), log);
  must(store->create("k", aes(), nullptr));
  assert_true(*store->metadata("none") == nullptr);
  assert_true(*store->version("none@0") == nullptr);
  assert_true(*store->version("none") == nullptr);
  assert_true(*store->version("k@1") == nullptr);
  assert_true(*store->version("k@00") == nullptr);
  assert_true(*store->version("") == nullptr);
  assert_true(*store->current_version("none") == nullptr);
  assert_true(store->versions("none")->empty());
}

void spelling(void**) {
  TempDir dir;
  Log log;
  auto store = open_or_fail(dir.path("ks"), log);
  must(store->create("me-up", aes(), nullptr));
  must(store->create("\xC3\xA9t\xC3\xA9", aes(), nullptr));
  assert_text((*store->metadata("ME-UP"))->name, "me-up");
  assert_text((*store->version("Me-Up@0"))->version_name, "me-up@0");
  assert_text((*store->current_version("ME-UP"))->name, "me-up");
  assert_text((*store->current_version("\xC3\x89T\xC3\x89"))->name, "\xC3\xA9t\xC3\xA9");
  assert_text((*store->roll("ME-UP", nullptr))->version_name, "me-up@1");
  assert_true(store->remove("ME-UP").ok());
  assert_true(*store->version("me-up@1") == nullptr);
  assert_error(store->create("Me-Up", aes(), nullptr), ErrorKind::invalid_argument,
               "Uppercase key names are unsupported: Me-Up");
}

void create_refusals(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  must(store->create("k", aes(), nullptr));
  const std::string uri = "jceks://file@" + path;
  assert_text(store->uri(), uri);
  assert_error(store->create("k", aes(), nullptr), ErrorKind::io, "Key k already exists in " + uri);
  assert_error(store->create("k@0", aes(), nullptr), ErrorKind::io,
               "Key k@0 already exists in " + uri);
  const Secret short_one = key_of("000102030405060708090a0b0c0d0e");
  assert_error(store->create("l", aes(), &short_one), ErrorKind::io,
               "Wrong key length. Required 128, but got 120");
  const Secret none;
  assert_error(store->create("l", aes(), &none), ErrorKind::io,
               "Wrong key length. Required 128, but got 0");
  assert_error(store->create("l", aes(0), &none), ErrorKind::invalid_argument, "Empty key");
  assert_error(store->create("l", aes(100), nullptr), ErrorKind::invalid_key_length,
               "Wrong keysize: must be equal to 128, 192 or 256");
  KeyOptions foo = aes();
  foo.cipher = "FOO/CTR/NoPadding";
  auto unknown = store->create("l", foo, nullptr);
  assert_error(unknown, ErrorKind::unknown_cipher, "");
  assert_false(unknown.error().has_message);
  KeyOptions des = aes(56);
  des.cipher = "DES";
  assert_error(store->create("l", des, nullptr), ErrorKind::io,
               "Wrong key length. Required 56, but got 64");
  KeyOptions bad = aes();
  bad.attributes["a"] = "\xFF";
  assert_error(store->create("l", bad, nullptr), ErrorKind::invalid_argument, "UTF-8");
  assert_error(store->create(std::string(70000, 'n'), aes(), nullptr), ErrorKind::invalid_argument,
               "longer");
  assert_error(store->create(std::string_view("a\0b", 3), aes(), nullptr),
               ErrorKind::invalid_argument, "NUL");
  // Nothing was left behind, and the longest name works.
  assert_int_equal(store->names()->size(), 1);
  must(store->create(std::string(65524, 'n'), aes(), nullptr));
  assert_int_equal(open_or_fail(path, log)->names()->size(), 2);
}

void given_material_of_any_cipher(void**) {
  TempDir dir;
  Log log;
  auto store = open_or_fail(dir.path("ks"), log);
  KeyOptions foo = aes();
  foo.cipher = "FOO/CTR/NoPadding";
  const Secret material = key_of(kHex128);
  must(store->create("k", foo, &material));
  auto rolled = store->roll("k", nullptr);
  assert_error(rolled, ErrorKind::unknown_cipher, "");
  const Secret second = key_of("ffffffffffffffffffffffffffffffff");
  assert_text((*store->roll("k", &second))->version_name, "k@1");
}

void names_with_an_at(void**) {
  TempDir dir;
  Log log;
  auto store = open_or_fail(dir.path("ks"), log);
  must(store->create("user@domain", aes(), nullptr));
  assert_true(store->names()->empty());
  assert_text((*store->current_version("user@domain"))->version_name, "user@domain@0");
  assert_text((*store->current_version("user@domain"))->name, "user@domain");
  // The name of a key where a version is asked for.
  const auto wrong = store->version("user@domain");
  assert_error(
      wrong, ErrorKind::wrong_type,
      "java.lang.ClassCastException: class "
      "org.apache.hadoop.crypto.key.JavaKeyStoreProvider$KeyMetadata cannot be cast to class "
      "javax.crypto.spec.SecretKeySpec (org.apache.hadoop.crypto.key.JavaKeyStoreProvider"
      "$KeyMetadata is in unnamed module of loader 'app'; javax.crypto.spec.SecretKeySpec is "
      "in module java.base of loader 'bootstrap')");
  // Java would write over the key x@0 and lose it.
  must(store->create("x@0", aes(), nullptr));
  assert_error(store->create("x", aes(), nullptr), ErrorKind::io, "Key x@0 already exists");
  must(store->create("y", aes(), nullptr));
  must(store->create("y@1", aes(), nullptr));
  assert_error(store->roll("y", nullptr), ErrorKind::io, "Key y@1 already exists");
}

void roll(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  assert_error(store->roll("none", nullptr), ErrorKind::io, "Can't find Metadata for key none");
  const Secret material = key_of(kHex128);
  assert_error(store->roll("none", &material), ErrorKind::io, "Key none not found");
  KeyOptions options = aes(256);
  options.description = "kept";
  options.attributes = {{"z", "1"}, {"a", "2"}};
  must(store->create("k", options, nullptr));
  const auto created = (*store->metadata("k"))->created_ms;
  assert_error(store->roll("k", &material), ErrorKind::io,
               "Wrong key length. Required 256, but got 128");
  for (int n = 1; n <= 3; ++n)
    assert_text((*store->roll("k", nullptr))->version_name, "k@" + std::to_string(n));
  for (int i = 0; i < 2; ++i) {
    const MetadataPtr m = *store->metadata("k");
    assert_int_equal(m->versions, 4);
    assert_true(m->created_ms == created && m->description == "kept" && m->attributes.size() == 2);
    const auto all = *store->versions("k");
    assert_int_equal(all.size(), 4);
    for (int n = 0; n < 4; ++n) {
      const auto at = static_cast<std::size_t>(n);
      assert_text(all[at]->version_name, "k@" + std::to_string(n));
      assert_int_equal(all[at]->material.size(), 32);
    }
    assert_ptr_equal((*store->current_version("k")).get(), all[3].get());
    store = open_or_fail(path, log);
  }
}

void many_versions_and_gaps(void**) {
  TempDir dir;
  Log log;
  const Secret password(std::string_view("none"));
  StoredMetadata m;
  m.cipher = "AES";
  m.bit_length = 8;
  m.versions = 2000000000;
  ContainerWriter writer(5, 0);
  auto add = [&](const std::string& alias, const Secret& plain) {
    writer.add(EntryTag::secret_key, alias, 1, *seal_key(plain.view(), password.view(), 1));
  };
  add("k", encode_metadata(m));
  const Secret version = encode_secret_key("AES", unit::from_hex("01"));
  for (const char* alias : {"k@1999999999", "k@7", "k@00", "k@2000000000"}) add(alias, version);
  unit::write_file(dir.path("ks"), *writer.finish(password.view()));
  auto store = open_or_fail(dir.path("ks"), log);
  const auto all = *store->versions("k");
  assert_int_equal(all.size(), 2);
  assert_text(all[0]->version_name, "k@7");
  assert_text((*store->current_version("k"))->version_name, "k@1999999999");
  assert_true(store->remove("k").ok());
  // Only what belonged to the key is gone.
  assert_true(*store->version("k@7") == nullptr);
  assert_true(*store->version("k@00") != nullptr);
  assert_true(*store->version("k@2000000000") != nullptr);
}

void remove_takes_everything(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  must(store->create("k", aes(), nullptr));
  must(store->create("kk", aes(), nullptr));
  must(store->roll("k", nullptr));
  assert_error(store->remove("none"), ErrorKind::io,
               "Key none does not exist in jceks://file@" + path);
  assert_error(store->remove("k@0"), ErrorKind::io,
               "Can't cast key for k@0 in keystore file:" + path +
                   " to a KeyMetadata. Key may have been added using  keytool or some other "
                   "non-Hadoop method.");
  assert_true(store->remove("k").ok());
  for (int i = 0; i < 2; ++i) {
    assert_true(*store->names() == std::vector<std::string>{"kk"});
    assert_true(*store->version("k@0") == nullptr);
    assert_true(*store->version("k@1") == nullptr);
    assert_true(*store->version("kk@0") != nullptr);
    store = open_or_fail(path, log);
  }
  assert_text((*store->create("k", aes(), nullptr))->version_name, "k@0");
  assert_int_equal((*store->metadata("k"))->versions, 1);
}

// The caller's last word before a change becomes durable: what it refuses never was.
void approvals(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  std::string shown;
  bool there = false;
  const Approval note = [&](const KeyVersion* fresh) -> Result<void> {
    shown = fresh != nullptr ? fresh->version_name : "none";
    there = unit::exists(path) && !unit::entries_of(path).empty();
    return {};
  };
  const Approval refuse = [](const KeyVersion*) -> Result<void> {
    return Error(ErrorKind::unavailable, "no audit");
  };
  assert_error(store->create("k", aes(), nullptr, refuse), ErrorKind::unavailable, "no audit");
  assert_false(unit::exists(path));
  assert_true(store->names()->empty());
  must(store->create("k", aes(), nullptr, note));
  assert_text(shown, "k@0");
  assert_false(there);
  assert_error(store->roll("k", nullptr, refuse), ErrorKind::unavailable, "no audit");
  assert_int_equal((*store->metadata("k"))->versions, 1);
  must(store->roll("k", nullptr, note));
  assert_text(shown, "k@1");
  assert_error(store->remove("k", refuse), ErrorKind::unavailable, "no audit");
  assert_true(*store->version("k@1") != nullptr);
  assert_int_equal(open_or_fail(path, log)->versions("k")->size(), 2);
  assert_true(store->remove("k", note).ok());
  assert_text(shown, "none");
  // It is not asked about what fails anyway, and a refusal is no failure of the keystore.
  shown.clear();
  assert_false(store->remove("k", note).ok());
  assert_text(shown, "");
  assert_int_equal(log.count("KMS0110"), 0);
  assert_false(unit::exists(dir.path(".ks.tmp")));
}

// Entries of other makers survive a change byte for byte, and say what they are.
void foreign_entries(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  const std::string data = unit::read_file(unit::data_path("jceks/mixed.jceks"));
  unit::write_file(path, data);
  auto store = open_or_fail(path, log, "mixedpass");
  for (const char* alias : {"ktaes", "ktcert", "ktrsa"})
    assert_error(store->metadata(alias), ErrorKind::io, "Can't cast key for");
  assert_error(store->version("ktaes"), ErrorKind::io, "No version in key path ktaes");
  assert_error(store->version("ktcert"), ErrorKind::io, "no secret key");
  assert_true(*store->version("ktver@0") != nullptr);
  assert_error(store->roll("ktaes", nullptr), ErrorKind::io, "Can't cast key");
  must(store->roll("hkey", nullptr));
  std::map<std::string, RawEntry> before, after;
  for (auto& raw : unit::entries_of(unit::data_path("jceks/mixed.jceks"), "mixedpass"))
    before[raw.alias] = raw;
  for (auto& raw : unit::entries_of(path, "mixedpass")) after[raw.alias] = raw;
  assert_int_equal(after.size(), before.size() + 1);
  for (const auto& [alias, raw] : before) {
    if (alias == "hkey") continue;
    assert_true(after[alias].tag == raw.tag && after[alias].date_ms == raw.date_ms);
    assert_true(after[alias].body == raw.body);
  }
}

// A version 1 file has certificates without a type, and JKS another magic; both become JCEKS
// version 2.
void old_formats_are_rewritten(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  Bytes body = unit::from_hex(
      "feedfeed00000001"
      "00000002"
      "00000002"
      "000163"
      "0000000000000005"
      "00000003"
      "308000"
      "00000001"
      "000170"
      "0000000000000006"
      "00000002"
      "3000"
      "00000001"
      "00000001"
      "aa");
  Bytes file = body;
  const auto digest = store_digest(as_bytes("none"), body);
  file.insert(file.end(), digest->begin(), digest->end());
  unit::write_file(path, file);
  auto store = open_or_fail(path, log);
  assert_int_equal(store->names()->size(), 2);
  must(store->create("k", aes(), nullptr));
  const std::string now = unit::read_file(path);
  assert_text(unit::to_hex(as_bytes(now).first(8)), "cececece00000002");
  for (const auto& raw : unit::entries_of(path)) {
    if (raw.alias == "c") assert_text(unit::to_hex(raw.body), "0005582e35303900000003308000");
    if (raw.alias == "p")
      assert_text(unit::to_hex(raw.body), "000000023000000000010005582e35303900000001aa");
  }
}

void one_bad_key_among_good_ones(void**) {
  for (const char* name : {"badkey-padding", "badkey-suid", "badkey-inner-tag",
                           "badkey-null-params", "badkey-empty-material"}) {
    TempDir dir;
    Log log;
    const std::string path = dir.path("ks");
    unit::write_file(path,
                     unit::read_file(unit::data_path("jceks/" + std::string(name) + ".jceks")));
    auto store = open_or_fail(path, log);
    const auto broken = store->version("k@0");
    assert_error(broken, ErrorKind::corrupt, "Can't recover key k@0 from file:" + path + ": ");
    assert_error(store->current_version("k"), ErrorKind::corrupt, "Can't recover key");
    assert_int_equal(log.count("KMS0114"), 1);  // said once
    assert_true(*store->metadata("k") != nullptr);
    must(store->create("other", aes(), nullptr));
    assert_text((*store->roll("k", nullptr))->version_name, "k@1");
    assert_true(*store->current_version("k") != nullptr);
  }
  TempDir dir;
  Log log;
  unit::write_file(dir.path("ks"),
                   unit::read_file(unit::data_path("jceks/badkey-iterations0.jceks")));
  auto store = open_or_fail(dir.path("ks"), log);
  assert_error(store->metadata("k"), ErrorKind::corrupt,
               "Can't recover key for k from keystore file:" + dir.path("ks"));
  assert_true(*store->version("k@0") != nullptr);
}

// Random operations on the store and on a model give the same, also after every reopening.
void random_operations(void**) {
  TempDir dir;
  Log log;
  const std::string path = dir.path("ks");
  auto store = open_or_fail(path, log);
  std::map<std::string, std::vector<std::string>> model;  // name -> material of each version
  std::mt19937 random(3);
  auto material = [&random] {
    Bytes bytes(16);
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
    return bytes;
  };
  for (int i = 0; i < 120; ++i) {
    const std::string name = "k\xC3\xA9" + std::to_string(random() % 8);
    const Bytes bytes = material();
    const Secret secret{ByteView(bytes)};
    const bool known = model.count(name) != 0;
    switch (random() % 4) {
      case 0:
        assert_int_equal(store->create(name, aes(), &secret).ok(), !known);
        if (!known) model[name] = {unit::to_hex(bytes)};
        break;
      case 1:
        assert_int_equal(store->roll(name, &secret).ok(), known);
        if (known) model[name].push_back(unit::to_hex(bytes));
        break;
      case 2:
        assert_int_equal(store->remove(name).ok(), known);
        model.erase(name);
        break;
      default:
        store = open_or_fail(path, log);
    }
    assert_int_equal(store->names()->size(), model.size());
    for (const auto& [each, versions] : model) {
      const auto got = *store->versions(each);
      assert_int_equal(got.size(), versions.size());
      for (std::size_t v = 0; v < got.size(); ++v)
        assert_text(unit::to_hex(got[v]->material.view()), versions[v]);
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(create_and_find),
      cmocka_unit_test(missing_is_no_error),
      cmocka_unit_test(spelling),
      cmocka_unit_test(create_refusals),
      cmocka_unit_test(given_material_of_any_cipher),
      cmocka_unit_test(names_with_an_at),
      cmocka_unit_test(roll),
      cmocka_unit_test(many_versions_and_gaps),
      cmocka_unit_test(remove_takes_everything),
      cmocka_unit_test(approvals),
      cmocka_unit_test(foreign_entries),
      cmocka_unit_test(old_formats_are_rewritten),
      cmocka_unit_test(one_bad_key_among_good_ones),
      cmocka_unit_test(random_operations),
  };
  return cmocka_run_group_tests_name("jceks store", tests, nullptr, nullptr);
}
