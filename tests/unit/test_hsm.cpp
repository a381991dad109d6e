// SPDX-License-Identifier: Apache-2.0
// Keys in a token: what is made, what it computes, what it refuses.
#include <openssl/rand.h>

#include "core/clock.h"
#include "core/hex.h"
#include "hsm_util.h"
#include "pkcs11/address.h"

using namespace kms;
using namespace kms::pkcs11;
using unit::aes_key;
using unit::assert_kind;
using unit::assert_text;
using unit::Hsm;
using unit::Log;
using unit::need;

namespace {

void life_of_a_key(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  auto store = hsm.open(log);
  assert_true(store->condition().state == HealthState::good);
  KeyOptions options = aes_key(256);
  options.description = "d";
  options.attributes = {{"key.acl.name", "x"}, {"b", "\xC3\xA9"}};
  const VersionPtr made =
      need(store->create("me/up x", options, nullptr, [&](const KeyVersion* fresh) -> Result<void> {
        assert_text(fresh->version_name, "me/up x@0");
        return {};
      }));
  assert_true(made->material.empty());
  assert_kind(store->create("me/up x", options, nullptr), ErrorKind::io, "already exists");
  const VersionPtr rolled = need(store->roll("ME/up x", nullptr));
  assert_text(rolled->version_name, "me/up x@1");
  // For this process, and for one that opens the file.
  for (int i = 0; i < 2; ++i) {
    assert_true(need(store->names()) == std::vector<std::string>{"me/up x"});
    const MetadataPtr m = need(store->metadata("me/UP x"));
    assert_text(m->cipher, "AES/CTR/NoPadding");
    assert_int_equal(m->bit_length, 256);
    assert_text(*m->description, "d");
    assert_true(m->attributes == options.attributes);
    assert_int_equal(m->versions, 2);
    assert_text(need(store->current_version("me/up x"))->version_name, "me/up x@1");
    assert_text(need(store->version("me/up x@0"))->version_name, "me/up x@0");
    assert_null(need(store->version("me/up x@2")).get());
    assert_null(need(store->metadata("other")).get());
    assert_int_equal(need(store->versions("me/up x")).size(), 2);
    assert_int_equal(store->size().versions, 2);
    store.reset();
    store = hsm.open(log);
  }
  const auto eeks = need(store->generate_eeks("me/up x", 3));
  assert_int_equal(eeks.size(), 3);
  assert_int_equal(eeks[0].material.size(), 32);
  need(store->remove("me/up x"));
  assert_true(need(store->names()).empty());
  assert_kind(store->decrypt_eek(eeks[0].wrapped_by, eeks[0].iv, eeks[0].material),
              ErrorKind::corrupt, "does not have the key");
  store.reset();
  assert_true(need(examine(hsm.options(), log)).findings.empty());
}

void eeks_go_round(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(192), nullptr));
  const auto eeks = need(store->generate_eeks("k", 500));  // more than fits into one call
  std::vector<Secret> deks;
  std::vector<WrappedDek> wrapped;
  for (const Eek& eek : eeks) {
    deks.push_back(need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material)));
    wrapped.push_back({Bytes(eek.iv.begin(), eek.iv.end()), eek.material});
  }
  assert_false(deks[0].equals(deks[1].view()));
  const VersionPtr fresh = need(store->roll("k", nullptr));
  need(store->reencrypt_eeks(eeks[0].wrapped_by, fresh, wrapped));
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    assert_true(wrapped[i].material != eeks[i].material);
    assert_true(
        need(store->decrypt_eek(fresh, wrapped[i].iv, wrapped[i].material)).equals(deks[i].view()));
  }
  assert_kind(store->decrypt_eek(fresh, Bytes(15), Bytes(16)), ErrorKind::io, "Wrong IV length");
}

// Objects whose values are known, put into the token by hand, under the id of one version, which is
// the first of them.
void plant_key(const Hsm& hsm, const std::vector<Bytes>& values, const std::string& name) {
  Library library = need(Library::load(hsm.library));
  assert_int_equal(library.initialize(), CKR_OK);
  Login login;
  const Secret pin(std::string_view("1234"));
  assert_text(log_in(library, need(TokenAddress::parse(hsm.address())), pin, login).text, "");
  State state = need(empty_state());
  auto key = std::make_shared<KeyRef>();
  key->id = need(new_key_id(state));
  key->label = name + "@0";
  key->bits = static_cast<std::int32_t>(values[0].size()) * 8;
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  CK_BBOOL yes = CK_TRUE;
  for (const Bytes& value : values) {
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &kind, sizeof kind},
                             {CKA_KEY_TYPE, &type, sizeof type},
                             {CKA_TOKEN, &yes, sizeof yes},
                             {CKA_ENCRYPT, &yes, sizeof yes},
                             {CKA_ID, key->id.data(), key->id.size()},
                             {CKA_LABEL, key->label.data(), key->label.size()},
                             {CKA_VALUE, const_cast<std::uint8_t*>(value.data()), value.size()}};
    CK_OBJECT_HANDLE object = 0;
    assert_int_equal(library->C_CreateObject(login.session, wanted, std::size(wanted), &object),
                     CKR_OK);
    if (!key->check.empty()) continue;
    Bytes zeros(kBlock), block(kBlock);
    assert_int_equal(encrypt_blocks({library.operator->(), login.session}, object, zeros.data(),
                                    kBlock, block.data()),
                     CKR_OK);
    key->check.assign(block.begin(), block.begin() + kCheckSize);
  }
  library->C_Finalize(nullptr);

  auto version = std::make_shared<TokenVersion>();
  version->name = name;
  version->version_name = key->label;
  version->key = key;
  auto metadata = std::make_shared<KeyMetadata>();
  metadata->name = name;
  metadata->cipher = "AES/CTR/NoPadding";
  metadata->bit_length = key->bits;
  metadata->versions = 1;
  state.keys[name] = {metadata, {version}};
  hsm.dir.write("kms.hsm", need(encode_state(state)));
}

void same_bytes_as_software(void**) {
  unit::require_token();
  for (const std::size_t size : {16, 24, 32}) {
    Hsm hsm;
    Log log;
    Bytes value(size);
    assert_int_equal(RAND_bytes(value.data(), static_cast<int>(size)), 1);
    plant_key(hsm, {value}, "known");
    auto store = hsm.open(log);
    // Made in the token, opened by software, in batches of one and of many.
    for (const std::int32_t count : {1, 100}) {
      const auto eeks = need(store->generate_eeks("known", count));
      assert_int_equal(eeks.size(), count);
      for (const Eek& eek : eeks) {
        Secret dek(size);
        need(eek_crypt(value, eek.iv, eek.material, {dek.data(), size}));
        assert_true(
            need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material)).equals(dek.view()));
      }
    }
    // Made by software, opened in the token.
    for (int i = 0; i < 100; ++i) {
      Bytes iv(kEekIvSize), eek(size);
      Secret dek(size);
      assert_int_equal(RAND_bytes(iv.data(), static_cast<int>(iv.size())), 1);
      assert_int_equal(RAND_bytes(dek.data(), static_cast<int>(size)), 1);
      need(eek_crypt(value, iv, dek.view(), eek));
      assert_true(need(store->decrypt_eek(need(store->current_version("known")), iv, eek))
                      .equals(dek.view()));
    }
    // Counters that run over, and lengths that are no block.
    const VersionPtr kek = need(store->current_version("known"));
    for (const std::size_t length : {1, 16, 20, 33, 5000}) {
      for (const std::uint8_t last : {0x00, 0x01, 0xff}) {
        Bytes iv(kEekIvSize, 0), eek(length, 0x5a);
        iv.back() = last;
        Secret dek(length);
        need(eek_crypt(value, iv, eek, {dek.data(), length}));
        assert_true(need(store->decrypt_eek(kek, iv, eek)).equals(dek.view()));
      }
    }
  }
}

// The same key listed twice is that key; beside another one under its id it is not used.
void two_objects_of_one_id(void**) {
  unit::require_token();
  const Bytes value(16, 0x11), other(16, 0x22);
  {
    Hsm hsm;
    Log log;
    plant_key(hsm, {value, value}, "known");
    auto store = hsm.open(log);
    const Eek eek = need(store->generate_eeks("known", 1))[0];
    Secret dek(16);
    need(eek_crypt(value, eek.iv, eek.material, {dek.data(), dek.size()}));
    assert_true(need(store->decrypt_eek(eek.wrapped_by, eek.iv, eek.material)).equals(dek.view()));
    assert_int_equal(log.count("KMS0166"), 0);
  }
  for (const auto& values : {std::vector{value, other}, std::vector{value, value, other}}) {
    Hsm hsm;
    Log log;
    plant_key(hsm, values, "known");
    assert_kind(hsm.open(log)->generate_eeks("known", 1), ErrorKind::corrupt, "another key");
  }
}

void refusals(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  auto store = hsm.open(log);
  const Secret material(std::string_view("0123456789abcdef"));
  assert_kind(store->create("k", aes_key(), &material), ErrorKind::unsupported, "not taken");
  assert_kind(store->create("k", aes_key(512), nullptr), ErrorKind::invalid_key_length);
  assert_kind(store->create("Upper", aes_key(), nullptr), ErrorKind::invalid_argument);
  KeyOptions other = aes_key();
  other.cipher = "HmacSHA256";
  assert_kind(store->create("k", other, nullptr), ErrorKind::unsupported, "AES keys only");
  assert_kind(store->roll("k", nullptr), ErrorKind::io, "Can't find Metadata");
  assert_kind(store->remove("k"), ErrorKind::io, "does not exist");
  need(store->create("k", aes_key(), nullptr));
  assert_kind(store->roll("k", &material), ErrorKind::unsupported, "not taken");
  KeyMetadata metadata = *need(store->metadata("k"));
  metadata.name = "imported";
  assert_kind(store->import_key(metadata, {}), ErrorKind::unsupported);
  // Whoever approves says no: neither side keeps anything.
  const Approval never = [](const KeyVersion*) -> Result<void> {
    return Error(ErrorKind::unavailable, "no audit");
  };
  assert_kind(store->create("never", aes_key(), nullptr, never), ErrorKind::unavailable,
              "no audit");
  assert_kind(store->roll("k", nullptr, never), ErrorKind::unavailable, "no audit");
  assert_kind(store->remove("k", never), ErrorKind::unavailable, "no audit");
  assert_int_equal(need(store->metadata("k"))->versions, 1);
  assert_int_equal(need(store->generate_eeks("k", 1)).size(), 1);
  assert_true(need(store->names()) == std::vector<std::string>{"k"});
  store.reset();
  const TokenReport report = need(examine(hsm.options(), log));
  assert_int_equal(report.findings.size(), 1);
  unit::assert_text(report.findings[0].what, "usable");
}

void what_a_crash_leaves(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("a", aes_key(), nullptr));
  need(store->create("b", aes_key(), nullptr));
  store.reset();
  // As after a crash between token and file: a is noted, and unknown otherwise; b is an orphan.
  State state = need(parse_state(as_bytes(unit::read_file(hsm.dir.path("kms.hsm")))));
  const KeyRef a = *state.find("a")->versions[0]->key, b = *state.find("b")->versions[0]->key;
  state.keys.clear();
  state.pending = {{a.id, a.label, false, now_ms()}};
  hsm.dir.write("kms.hsm", need(encode_state(state)));
  TokenReport report = need(examine(hsm.options(), log));
  assert_int_equal(report.findings.size(), 2);
  for (const Finding& each : report.findings)
    assert_true(each.kind ==
                (each.label == "a@0" ? Finding::Kind::pending : Finding::Kind::orphan));
  store = hsm.open(log);
  store->poll();
  assert_int_equal(log.count("KMS0157"), 1);
  need(store->create("a", aes_key(), nullptr));  // its name is free
  store.reset();
  assert_kind(destroy_orphans(hsm.options(), {hex_text(a.id)}, log), ErrorKind::invalid_argument);
  report = need(examine(hsm.options(), log));
  assert_int_equal(report.findings.size(), 2);
  need(destroy_orphans(hsm.options(), {hex_text(b.id)}, log));
  report = need(examine(hsm.options(), log));
  assert_int_equal(report.findings.size(), 1);
  assert_true(report.findings[0].kind == Finding::Kind::good);
  // An old note may come from a backup: people decide.
  state = need(parse_state(as_bytes(unit::read_file(hsm.dir.path("kms.hsm")))));
  const KeyRef kept = *state.find("a")->versions[0]->key;
  state.pending = {{kept.id, kept.label, false, now_ms() - 25 * 3'600'000LL}};
  hsm.dir.write("kms.hsm", need(encode_state(state)));
  store = hsm.open(log);
  store->poll();
  assert_int_equal(need(store->generate_eeks("a", 1)).size(), 1);
  store.reset();
}

// Keys of others, in whatever shape, are seen and left alone.
void keys_of_others(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  need(hsm.open(log)->create("k", aes_key(), nullptr));
  hsm.dir.write("material", std::string(32, 'm'));
  hsm.tool("--write-object " + hsm.dir.path("material") +
           " --type secrkey --key-type AES:32 --label theirs");
  const TokenReport report = need(examine(hsm.options(), log));
  assert_int_equal(report.findings.size(), 2);
  for (const Finding& each : report.findings)
    assert_true(each.kind == (each.label == "k@0" ? Finding::Kind::good : Finding::Kind::foreign));
}

// An object that is not the key that the file means is not used.
void another_key_in_its_place(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  store.reset();
  const std::string text = unit::read_file(hsm.dir.path("kms.hsm"));
  State state = need(parse_state(as_bytes(text)));
  auto version = std::make_shared<TokenVersion>();
  version->name = "k";
  version->version_name = "k@0";
  auto key = std::make_shared<KeyRef>(*state.find("k")->versions[0]->key);
  key->check[0] ^= 1;
  version->key = key;
  state.keys["k"].versions[0] = version;
  hsm.dir.write("kms.hsm", need(encode_state(state)));
  store = hsm.open(log);
  assert_kind(store->generate_eeks("k", 1), ErrorKind::corrupt, "another key");
  store.reset();
  assert_int_equal(log.count("KMS0146"), 1);
  key->id.back() ^= 1;
  hsm.dir.write("kms.hsm", need(encode_state(state)));
  store = hsm.open(log);
  assert_kind(store->generate_eeks("k", 1), ErrorKind::corrupt, "does not have the key");
  assert_true(store->condition().state == HealthState::good);
}

void damaged_files(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  auto store = hsm.open(log);
  need(store->create("k", aes_key(), nullptr));
  const std::string path = hsm.dir.path("kms.hsm"), good = unit::read_file(path);
  for (const std::string& bad : {std::string(), std::string("{"), good.substr(0, good.size() / 2),
                                 std::string("{\"format\": 2}"), std::string("[]")})
    assert_kind(parse_state(as_bytes(bad)), ErrorKind::corrupt);
  hsm.dir.write("kms.hsm", "{");
  store->poll();
  assert_int_equal(log.count("KMS0149"), 1);
  assert_true(store->condition().state == HealthState::degraded);
  assert_int_equal(need(store->generate_eeks("k", 1)).size(), 1);  // the last good state
  assert_kind(store->create("other", aes_key(), nullptr), ErrorKind::unavailable, "mended");
  assert_kind(open_store(hsm.options(), log, true), ErrorKind::corrupt, "cannot be read");
  hsm.dir.write("kms.hsm", good);
  store->poll();
  assert_int_equal(log.count("KMS0150"), 1);
  need(store->create("other", aes_key(), nullptr));
}

void addresses(void**) {
  for (const char* good : {"pkcs11:token=kms", "pkcs11:serial=12ab;model=SoftHSM%20v2"})
    assert_true(TokenAddress::parse(good).ok());
  const std::pair<const char*, const char*> bad[] = {
      {"kms", "cannot be read"},
      {"pkcs11:", "neither"},
      {"pkcs11:model=x", "neither"},
      {"pkcs11:token=kms;object=k", "more than"},
      {"pkcs11:token=kms;slot-id=3", "more than"},
      {"pkcs11:token=kms;x-other=3", "more than"},
      {"pkcs11:token=kms?pin-value=1234", "pin-file"},
      {"pkcs11:token=kms?pin-source=file:/x", "pin-file"},
      {"pkcs11:token=kms?module-path=/x.so", "library"}};
  for (const auto& [text, part] : bad)
    assert_kind(TokenAddress::parse(text), ErrorKind::configuration, part);
  for (const char* uri : {"hsm://x@/p", "hsm:///p", "hsm://luna@p", "hsm://luna@/p/", "hsm:luna"})
    assert_kind(path_of_uri(uri), ErrorKind::configuration, "hsm://PROFILE@/PATH");
  assert_text(need(path_of_uri("hsm://thales@/a/b")), "/a/b");
}

void checks_before_the_start(void**) {
  unit::require_token();
  Hsm hsm;
  Log log;
  const auto check = [&](const StoreOptions& options) { return open_store(options, log, true); };
  need(check(hsm.options()));
  assert_false(unit::exists(hsm.dir.path("kms.hsm")));
  StoreOptions options = hsm.options();
  options.hsm.token = "pkcs11:token=other";
  assert_kind(check(options), ErrorKind::configuration, "there are: ");
  options = hsm.options();
  options.hsm.library = hsm.dir.path("none.so");
  assert_kind(check(options), ErrorKind::configuration, "none.so");
  options = hsm.options();
  options.hsm.pin_file = hsm.dir.path("none");
  assert_kind(check(options), ErrorKind::configuration, "cannot be read");
  ::chmod(hsm.dir.path("pin").c_str(), 0644);
  assert_kind(check(hsm.options()), ErrorKind::configuration, "mode");
  hsm.set_pin("9999");
  assert_kind(check(hsm.options()), ErrorKind::configuration, "C_Login");
  hsm.set_pin("");
  assert_kind(check(hsm.options()), ErrorKind::configuration, "is empty");
  // By systemd's credential.
  hsm.set_pin("1234");
  hsm.dir.write("hsm-pin", "1234");
  ::chmod(hsm.dir.path("hsm-pin").c_str(), 0400);
  options = hsm.options();
  options.hsm.pin_file.clear();
  ::unsetenv("CREDENTIALS_DIRECTORY");
  assert_kind(check(options), ErrorKind::configuration, "pin-file is not set");
  ::setenv("CREDENTIALS_DIRECTORY", hsm.dir.path().c_str(), 1);
  assert_true(check(options).ok());
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      // First, as in httpd: the library of opencryptoki crashes in a fork of a process that used
      // it.
      cmocka_unit_test(checks_before_the_start),
      cmocka_unit_test(life_of_a_key),
      cmocka_unit_test(eeks_go_round),
      cmocka_unit_test(same_bytes_as_software),
      cmocka_unit_test(two_objects_of_one_id),
      cmocka_unit_test(refusals),
      cmocka_unit_test(what_a_crash_leaves),
      cmocka_unit_test(keys_of_others),
      cmocka_unit_test(another_key_in_its_place),
      cmocka_unit_test(damaged_files),
      cmocka_unit_test(addresses),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
