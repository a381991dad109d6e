// SPDX-License-Identifier: Apache-2.0
// Known answers of kms-rest.md section 5, base64 of section 1.3, and the promises of Secret.
#include <thread>

#include "core/secret.h"
#include "crypto/base64.h"
#include "crypto/eek.h"
#include "crypto/random.h"
#include "keystore/keystore.h"
#include "unit.h"

using namespace kms;
using unit::from_hex;
using unit::to_hex;

namespace {

struct Vector {
  const char* kek;
  const char* iv;
  const char* dek;
  const char* eek;
};

constexpr Vector kVectors[] = {
    {"000102030405060708090a0b0c0d0e0f", "101112131415161718191a1b1c1d1e1f",
     "f0e0d0c0b0a090807060504030201000", "cb73c110ab58114c1b1ca01fa809c3be"},
    {"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
     "00000000000000000000000000000000",
     "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0",
     "c4c2d4dd33a0dd266d30f33a9eef913c0a861b6d7f259f3ef0aba924a0f249b4"},
    {"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "0123456789abcdef0011223344556677",
     "a1b2c3d4e5f60718293a4b5c6d7e8f900f1e2d3c4b5a6978",
     "204e00bf416e1917782e9e73c23f122a8af6a8da7d9dd2dc"},
    {"000102030405060708090a0b0c0d0e0f", "101112131415161718191a1b1c1d1e1f", "0102030405",
     "3a9112d41e"},
    {"ffffffffffffffffffffffffffffffff", "101112131415161718191a1b1c1d1e1f",
     "f0e0d0c0b0a090807060504030201000", "88fd5328baadb8cdd4f99842ddeda125"},
};

void eek_vectors(void**) {
  for (const auto& v : kVectors) {
    Bytes out(from_hex(v.dek).size());
    assert_true(eek_crypt(from_hex(v.kek), from_hex(v.iv), from_hex(v.dek), out).ok());
    unit::assert_text(to_hex(out), v.eek);
    assert_true(eek_crypt(from_hex(v.kek), from_hex(v.iv), out, out).ok());
    unit::assert_text(to_hex(out), v.dek);
  }
}

void one_cipher_serves_many_eeks(void**) {
  const Bytes kek = from_hex(kVectors[0].kek);
  auto first = EekCipher::create(kek);
  auto second = EekCipher::create(from_hex(kVectors[4].kek));
  assert_true(first.ok() && second.ok());
  for (int i = 0; i < 3; ++i) {
    Bytes dek = from_hex(kVectors[0].eek);
    assert_true(first->crypt(from_hex(kVectors[0].iv), dek, dek).ok());
    unit::assert_text(to_hex(dek), kVectors[0].dek);
    assert_false(first->crypt(Bytes(15), dek, dek).ok());
    assert_true(second->crypt(from_hex(kVectors[4].iv), dek, dek).ok());
    unit::assert_text(to_hex(dek), kVectors[4].eek);
    // A short one after a long one must start a counter block of its own.
    Bytes five = from_hex(kVectors[3].dek);
    assert_true(first->crypt(from_hex(kVectors[3].iv), five, five).ok());
    unit::assert_text(to_hex(five), kVectors[3].eek);
  }
  assert_false(EekCipher::create(Bytes(15)).ok());
}

void eek_refuses_wrong_sizes(void**) {
  Bytes kek(16), iv(16), in(16), out(16);
  auto r = eek_crypt(kek, Bytes(15), in, out);
  assert_false(r.ok());
  assert_true(r.error().kind == ErrorKind::io);
  unit::assert_text(r.error().message,
                    "java.security.InvalidAlgorithmParameterException: Wrong IV length: must be 16 "
                    "bytes long");
  assert_false(eek_crypt(kek, Bytes(17), in, out).ok());
  r = eek_crypt(Bytes(15), iv, in, out);
  assert_false(r.ok());
  unit::assert_text(r.error().message,
                    "java.security.InvalidKeyException: Invalid AES key length: 15 bytes");
  Bytes shorter(15);
  assert_false(eek_crypt(kek, iv, in, shorter).ok());
  assert_true(eek_crypt(kek, iv, {}, {}).ok());
}

void eek_is_right_in_every_thread(void**) {
  std::vector<std::thread> threads;
  std::array<bool, 8> right{};
  for (std::size_t t = 0; t < right.size(); ++t) {
    threads.emplace_back([&right, t] {
      bool good = true;
      for (int i = 0; i < 500; ++i) {
        const auto& v = kVectors[(t + static_cast<std::size_t>(i)) % 5];
        Bytes out(from_hex(v.dek).size());
        good = good && eek_crypt(from_hex(v.kek), from_hex(v.iv), from_hex(v.dek), out).ok() &&
               to_hex(out) == v.eek;
      }
      right[t] = good;
    });
  }
  for (auto& thread : threads) thread.join();
  for (bool good : right) assert_true(good);
}

void base64_forms(void**) {
  unit::assert_text(base64url_encode(from_hex("fbffbf")), "-_-_");
  unit::assert_text(base64_encode(from_hex("fbffbf00")), "+/+/AA==");
  unit::assert_text(base64url_encode({}), "");
  unit::assert_text(to_hex(base64_decode_lenient("AAEC*AwQF BgcI\nCQoL!DA0ODw")),
                    "000102030405060708090a0b0c0d0e0f");
  unit::assert_text(to_hex(base64_decode_lenient("-_+/")), "fbffbf");
  unit::assert_text(to_hex(base64_decode_lenient("AAA=AAAA")), "0000");
  unit::assert_text(to_hex(base64_decode_lenient("AAAAA")), "000000");
  unit::assert_text(to_hex(base64_decode_lenient("!!!!")), "");
  assert_true(base64_decode_secret("AAEC").equals(from_hex("000102")));
  for (std::size_t n = 0; n < 70; ++n) {
    Bytes bytes(n);
    assert_true(fill_public(bytes).ok());
    assert_true(base64_decode_lenient(base64url_encode(bytes)) == bytes);
    assert_true(base64_decode_lenient(base64_encode(bytes)) == bytes);
  }
}

void secrets(void**) {
  Secret a(std::string_view("password"));
  Secret b = a.clone();
  assert_true(a.equals(b.view()));
  assert_false(a.equals(as_bytes("passwore")));
  assert_false(a.equals(as_bytes("passwor")));
  const auto* where = a.view().data();
  Secret c = std::move(a);
  assert_ptr_equal(c.view().data(), where);
  assert_true(a.empty());
  c = Secret(std::string_view("x"));
  assert_int_equal(c.size(), 1);
  assert_true(Secret().equals({}));
}

void secure_heap_overflows_into_the_ordinary_one(void**) {
  init_secure_heap(64 * 1024);
  std::vector<Secret> many;
  for (int i = 0; i < 5000; ++i) many.emplace_back(std::string_view("0123456789abcdef"));
  for (const auto& s : many) assert_true(s.equals(as_bytes("0123456789abcdef")));
}

void version_names(void**) {
  unit::assert_text(*base_name("a@b@12"), "a@b");
  assert_false(base_name("a").has_value());
  unit::assert_text(version_name("k", 10), "k@10");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(eek_vectors),
      cmocka_unit_test(one_cipher_serves_many_eeks),
      cmocka_unit_test(eek_refuses_wrong_sizes),
      cmocka_unit_test(eek_is_right_in_every_thread),
      cmocka_unit_test(base64_forms),
      cmocka_unit_test(secrets),
      cmocka_unit_test(secure_heap_overflows_into_the_ordinary_one),
      cmocka_unit_test(version_names),
  };
  return cmocka_run_group_tests_name("crypto", tests, nullptr, nullptr);
}
