// SPDX-License-Identifier: Apache-2.0
// The bytes in the znodes, against what a Java KMS 3.4.1 wrote into a real ZooKeeper.
#include <string>

#include "unit.h"
#include "zookeeper/codec.h"

using namespace kms;
using unit::from_hex;
using unit::to_hex;

namespace {

// Fresh start: there is no previous secret.
constexpr std::string_view kSigner =
    "00000000"
    "00000020"
    "0fb0f76222a5832a5a6b144f7a1a62f98eee3c438425d6d20591942fa6653ec4"
    "00000020"
    "72e6d10ab3ada86530c4742762a99864b7143c449315835be30fc04f2efb1e2f"
    "00000000"
    "000001a20ec2b82b";
constexpr std::string_view kMasterKey = "028a01a237f54f3b086d1d1069677d6908";
constexpr std::string_view kToken =
    "0005616c696365047961726e008a01a20ec275258a01a232cef9250102"
    "000001a213e8d125"
    "00000014bf59f8f8d6a08e4f08baab40fb645054fbc48420";

void signer_as_java_writes_it(void**) {
  const Bytes bytes = from_hex(kSigner);
  const auto secrets = zookeeper::decode_signer(bytes);
  assert_true(secrets.ok());
  unit::assert_text(to_hex(secrets->next.view()),
                    "0fb0f76222a5832a5a6b144f7a1a62f98eee3c438425d6d20591942fa6653ec4");
  assert_true(secrets->previous.empty());
  assert_true(secrets->rollover_ms == 0x1a20ec2b82b);
  unit::assert_text(to_hex(zookeeper::encode_signer(*secrets).view()), kSigner);
}

void signer_with_a_previous_secret(void**) {
  zookeeper::SignerSecretsData secrets;
  secrets.next = Secret(std::string_view("n"));
  secrets.current = Secret(std::string_view("cc"));
  secrets.previous = Secret(std::string_view("ppp"));
  secrets.rollover_ms = -2;
  const Secret bytes = zookeeper::encode_signer(secrets);
  unit::assert_text(to_hex(bytes.view()),
                    "00000000000000016e00000002636300000003707070fffffffffffffffe");
  const auto back = zookeeper::decode_signer(bytes.view());
  assert_true(back.ok());
  assert_true(back->previous.equals(as_bytes("ppp")));
  assert_true(back->rollover_ms == -2);
}

void master_key_as_java_writes_it(void**) {
  const Bytes bytes = from_hex(kMasterKey);
  const auto key = zookeeper::decode_master_key(bytes);
  assert_true(key.ok());
  assert_int_equal(key->id, 2);
  assert_true(key->expires_ms == 0x1a237f54f3b);
  unit::assert_text(to_hex(key->secret.view()), "6d1d1069677d6908");
  unit::assert_text(to_hex(zookeeper::encode_master_key(*key).view()), kMasterKey);
}

void token_as_java_writes_it(void**) {
  const Bytes bytes = from_hex(kToken);
  const auto token = zookeeper::decode_token(bytes);
  assert_true(token.ok());
  unit::assert_text(token->identifier.owner, "alice");
  unit::assert_text(token->identifier.renewer, "yarn");
  assert_int_equal(token->identifier.sequence, 1);
  assert_int_equal(token->identifier.master_key_id, 2);
  assert_true(token->renew_ms == 0x1a213e8d125);
  unit::assert_text(to_hex(token->password.view()), "bf59f8f8d6a08e4f08baab40fb645054fbc48420");
  unit::assert_text(to_hex(zookeeper::encode_token(*token).view()), kToken);
  // The password is the MAC of the identifier by the master key of the same server.
  const auto key = zookeeper::decode_master_key(from_hex(kMasterKey));
  const auto password = token_password(key->secret.view(), token->identifier.encode());
  assert_true(password->equals(token->password.view()));
}

void counters(void**) {
  unit::assert_text(to_hex(zookeeper::encode_count(100).view()), "00000064");
  assert_int_equal(*zookeeper::decode_count(from_hex("00000064")), 100);
  assert_int_equal(*zookeeper::decode_count(from_hex("ffffffff")), -1);
  assert_false(zookeeper::decode_count(from_hex("000064")).ok());
}

// Cut anywhere, and with lengths that lie: an error, and nothing is read past the end.
void damage_is_an_error(void**) {
  for (std::size_t size = 0; size < kSigner.size() / 2; ++size) {
    const Bytes cut = from_hex(kSigner.substr(0, 2 * size));
    assert_false(zookeeper::decode_signer(cut).ok());
  }
  for (std::size_t size = 0; size < kMasterKey.size() / 2; ++size) {
    const Bytes cut = from_hex(kMasterKey.substr(0, 2 * size));
    assert_false(zookeeper::decode_master_key(cut).ok());
  }
  for (std::size_t size = 0; size < kToken.size() / 2; ++size) {
    const Bytes cut = from_hex(kToken.substr(0, 2 * size));
    assert_false(zookeeper::decode_token(cut).ok());
  }
  for (const char* lie : {"00000001", "000000007fffffff00", "00000000ffffffff00",
                          "0000000000000000000000000000000000000000000000000000"})
    assert_false(zookeeper::decode_signer(from_hex(lie)).ok());
  for (const char* lie : {"0200ff", "02008f7f", "020000", "7f00"})
    assert_false(zookeeper::decode_master_key(from_hex(lie)).ok());
  Bytes negative = from_hex(kToken);
  negative[negative.size() - 24] = 0xff;  // length of the password
  assert_false(zookeeper::decode_token(negative).ok());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(signer_as_java_writes_it),
      cmocka_unit_test(signer_with_a_previous_secret),
      cmocka_unit_test(master_key_as_java_writes_it),
      cmocka_unit_test(token_as_java_writes_it),
      cmocka_unit_test(counters),
      cmocka_unit_test(damage_is_an_error),
  };
  return cmocka_run_group_tests_name("zookeeper_codec", tests, nullptr, nullptr);
}
