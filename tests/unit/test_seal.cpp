// SPDX-License-Identifier: Apache-2.0
// Sealing: what is bound, what a single bit does, where sealing keys come from.
#include <openssl/evp.h>
#include <sys/stat.h>

#include <string>

#include "seal/aead.h"
#include "seal/keyring.h"
#include "seal/sealing_key.h"
#include "seal/xaes.h"
#include "temp_dir.h"

namespace {

using namespace kms;
using namespace kms::seal;

Secret key_of(std::uint8_t byte) {
  return Secret(Bytes(kAeadKeySize, byte));
}

void opens_what_it_sealed(void**) {
  const Secret key = key_of(1);
  for (const std::size_t size : {0U, 1U, 16U, 32U, 1000U}) {
    const Bytes plain(size, 0x5a);
    auto sealed = aead_seal(key.view(), as_bytes("row"), plain);
    assert_true(sealed.ok());
    assert_int_equal(sealed->size(), 1 + 12 + size + 16);
    auto opened = aead_open(key.view(), as_bytes("row"), *sealed);
    assert_true(opened.ok());
    assert_true(opened->equals(plain));
  }
}

void no_two_seals_are_equal(void**) {
  const Secret key = key_of(1);
  assert_true(*aead_seal(key.view(), {}, as_bytes("x")) !=
              *aead_seal(key.view(), {}, as_bytes("x")));
}

// A vector of NIST (GCM, AES-256, test case 16), in our frame.
void gcm_is_gcm(void**) {
  const Bytes key =
      unit::from_hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const Bytes bound = unit::from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const Bytes sealed = unit::from_hex(
      "01"
      "cafebabefacedbaddecaf888"
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
      "76fc6ece0f4e1768cddf8853bb2d551b");
  auto opened = aead_open(key, bound, sealed);
  assert_true(opened.ok());
  unit::assert_text(unit::to_hex(opened->view()),
                    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
}

void every_bit_counts(void**) {
  const Secret key = key_of(1);
  const Bytes sealed = *aead_seal(key.view(), as_bytes("row"), as_bytes("material"));
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes changed = sealed;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1 << (bit % 8));
    auto opened = aead_open(key.view(), as_bytes("row"), changed);
    assert_false(opened.ok());
    assert_int_equal(opened.error().kind, ErrorKind::corrupt);
  }
  for (std::size_t size = 0; size < sealed.size(); ++size)
    assert_false(aead_open(key.view(), as_bytes("row"), ByteView(sealed).first(size)).ok());
  assert_false(aead_open(key.view(), as_bytes("roW"), sealed).ok());
  assert_false(aead_open(key_of(2).view(), as_bytes("row"), sealed).ok());
  assert_false(aead_seal(ByteView(sealed).first(16), {}, {}).ok());
}

void a_sealing_key_wraps(void**) {
  auto first = make_sealing_key("file", key_of(1)), same = make_sealing_key("file", key_of(1)),
       other = make_sealing_key("file", key_of(2));
  assert_true(first.ok() && same.ok() && other.ok());
  unit::assert_text((*first)->id(), (*same)->id());
  assert_true((*first)->id() != (*other)->id());
  unit::assert_contains((*first)->id(), "file-");
  const Secret data_key = key_of(9);
  auto wrapped = (*first)->wrap(data_key, as_bytes("a"));
  assert_true(wrapped.ok());
  assert_true((*same)->unwrap(*wrapped, as_bytes("a"))->equals(data_key.view()));
  assert_false((*same)->unwrap(*wrapped, as_bytes("b")).ok());
  assert_false((*other)->unwrap(*wrapped, as_bytes("a")).ok());
  assert_false(make_sealing_key("file", Secret(std::string_view("short"))).ok());
}

void key_files_are_looked_at(void**) {
  const unit::TempDir dir;
  const std::string path = dir.write("seal.key", std::string(32, 'k'));
  for (const mode_t mode : {0600U, 0640U, 0400U}) {
    assert_int_equal(chmod(path.c_str(), mode), 0);
    assert_true(read_key_file(path)->equals(as_bytes(std::string(32, 'k'))));
  }
  for (const mode_t mode : {0644U, 0660U, 0602U, 0604U}) {
    assert_int_equal(chmod(path.c_str(), mode), 0);
    auto refused = read_key_file(path);
    assert_false(refused.ok());
    unit::assert_contains(refused.error().message, path + ": others may");
  }
  for (const std::size_t size : {0U, 31U, 33U, 64U}) {
    const std::string wrong = dir.write("wrong", std::string(size, 'k'));
    assert_int_equal(chmod(wrong.c_str(), 0600), 0);
    auto refused = read_key_file(wrong);
    assert_false(refused.ok());
    unit::assert_contains(refused.error().message, "exactly 32 bytes");
  }
  assert_false(read_key_file(dir.path("none")).ok());
  assert_false(read_key_file(dir.path()).ok());
  const std::string fifo = dir.path("fifo");
  assert_int_equal(mkfifo(fifo.c_str(), 0600), 0);
  assert_false(read_key_file(fifo).ok());
}

// RFC 7914, section 12, its third vector, of which we take the first 32 bytes.
void scrypt_is_scrypt(void**) {
  ScryptParameters p;
  p.n = 16384;
  const std::string_view salt = "SodiumChloride";
  p.salt.assign(salt.begin(), salt.end());
  auto key = derive_sealing_key(Secret(std::string_view("pleaseletmein")), p);
  assert_true(key.ok());
  unit::assert_text(unit::to_hex(key->view()),
                    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
  assert_false(derive_sealing_key(Secret(), p).ok());
}

void scrypt_parameters_are_kept(void**) {
  auto fresh = ScryptParameters::fresh(), again = ScryptParameters::fresh();
  assert_true(fresh.ok() && again.ok());
  assert_true(fresh->salt != again->salt);
  auto parsed = ScryptParameters::parse(fresh->text());
  assert_true(parsed.ok());
  assert_true(parsed->salt == fresh->salt && parsed->n == fresh->n && parsed->r == fresh->r &&
              parsed->p == fresh->p);
  for (const char* bad :
       {"", "{}", "[]", R"({"kdf":"pbkdf2","n":32768,"r":8,"p":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"})",
        R"({"kdf":"scrypt","n":32767,"r":8,"p":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"})",
        R"({"kdf":"scrypt","n":16777216,"r":64,"p":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"})",
        R"({"kdf":"scrypt","n":-1,"r":8,"p":1,"salt":"AAAAAAAAAAAAAAAAAAAAAA"})",
        R"({"kdf":"scrypt","n":32768,"r":8,"p":1,"salt":"AA"})"})
    assert_int_equal(ScryptParameters::parse(bad).error().kind, ErrorKind::corrupt);
}

// The blocks as a token would encrypt them.
Bytes encrypt_blocks(ByteView key, ByteView blocks) {
  Bytes out(blocks.size());
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  int n = 0;
  assert_int_equal(EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), nullptr, key.data(), nullptr), 1);
  EVP_CIPHER_CTX_set_padding(context, 0);
  assert_int_equal(
      EVP_EncryptUpdate(context, out.data(), &n, blocks.data(), static_cast<int>(blocks.size())),
      1);
  EVP_CIPHER_CTX_free(context);
  return out;
}

// The two vectors of C2SP's XAES-256-GCM: the second with a key whose subkey needs the reduction.
void xaes_is_xaes(void**) {
  const std::string_view nonce = "ABCDEFGHIJKLMNOPQRSTUVWX";
  const struct {
    std::uint8_t byte;
    std::string_view bound, sealed;
  } vectors[] = {
      {1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
      {3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
  };
  for (const auto& vector : vectors) {
    const Bytes key(32, vector.byte), first = encrypt_blocks(key, Bytes(16, 0));
    const Bytes derived = encrypt_blocks(key, xaes_blocks(first, as_bytes(nonce)));
    Bytes framed = unit::from_hex("01");
    const ByteView iv = as_bytes(nonce.substr(kXaesNonceSize));
    framed.insert(framed.end(), iv.begin(), iv.end());
    const Bytes sealed = unit::from_hex(std::string(vector.sealed));
    framed.insert(framed.end(), sealed.begin(), sealed.end());
    auto opened = aead_open(derived, as_bytes(vector.bound), framed);
    assert_true(opened.ok());
    unit::assert_text(std::string(as_text(opened->view())), "XAES-256-GCM");
  }
}

KeySource file_source(std::uint8_t byte) {
  return {KeySource::Kind::file, "file" + std::to_string(byte), key_of(byte)};
}

KeyRecord record_of(std::uint8_t byte, bool current) {
  return {(*make_sealing_key("file", key_of(byte)))->id(), "file", "{}", current, 1};
}

Keyring ring_of(std::initializer_list<std::uint8_t> bytes) {
  std::vector<KeySource> sources;
  for (const std::uint8_t byte : bytes) sources.push_back(file_source(byte));
  return Keyring(std::move(sources), nullptr);
}

void a_keyring_knows_what_is_trusted(void**) {
  const KeyRecord old = record_of(1, true), fresh = record_of(2, false);
  // One key, as ever.
  assert_true(ring_of({1}).open({old}).ok());
  // A foreign one, or one that nobody has trusted yet.
  auto refused = ring_of({3, 1}).open({old});
  assert_int_equal(refused.error().kind, ErrorKind::configuration);
  unit::assert_contains(refused.error().message, "is not the one that the store is sealed with");
  // Both are there: what seals is for the store to say, what opens is told by the row.
  auto both = ring_of({2, 1}).open({old, fresh});
  assert_true(both.ok());
  unit::assert_text((*both)->id(), old.id);
  auto sealed_by_old = (*both)->wrap(key_of(9), as_bytes("b"));
  KeyRecord then = old, now = fresh;
  then.current = false;
  now.current = true;
  auto moved = ring_of({2, 1}).open({then, now});
  unit::assert_text((*moved)->id(), fresh.id);
  auto sealed_by_new = (*moved)->wrap(key_of(9), as_bytes("b"));
  assert_true((*moved)->unwrap(old.id, *sealed_by_old, as_bytes("b")).ok());
  assert_true((*moved)->unwrap(fresh.id, *sealed_by_new, as_bytes("b")).ok());
  assert_int_equal((*moved)->unwrap(old.id, *sealed_by_new, as_bytes("b")).error().kind,
                   ErrorKind::corrupt);
  // The old one was taken away too soon.
  unit::assert_contains(ring_of({2}).open({old, fresh}).error().message,
                        "is not configured here: keep it as the previous one");
  // In time: what it sealed is refused by name.
  auto alone = ring_of({2}).open({then, now});
  assert_true(alone.ok());
  unit::assert_contains((*alone)->unwrap(old.id, *sealed_by_old, as_bytes("b")).error().message,
                        old.id);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(opens_what_it_sealed), cmocka_unit_test(no_two_seals_are_equal),
      cmocka_unit_test(gcm_is_gcm),           cmocka_unit_test(every_bit_counts),
      cmocka_unit_test(a_sealing_key_wraps),  cmocka_unit_test(key_files_are_looked_at),
      cmocka_unit_test(scrypt_is_scrypt),     cmocka_unit_test(scrypt_parameters_are_kept),
      cmocka_unit_test(xaes_is_xaes),         cmocka_unit_test(a_keyring_knows_what_is_trusted),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
