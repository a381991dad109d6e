// SPDX-License-Identifier: Apache-2.0
// Sealing keys in a token: made there, never outside, lost and back.
#include <thread>

#include "hsm_util.h"
#include "pkcs11/access.h"
#include "pkcs11/apart.h"
#include "seal/hsm.h"

using namespace kms;
using unit::assert_kind;
using unit::eventually;
using unit::Log;
using unit::need;

namespace {

std::unique_ptr<seal::Hsm> open_hsm(const pkcs11::HsmOptions& options) {
  return need(seal::Hsm::open(options, "generic"));
}

seal::HsmKey make(seal::Hsm& hsm, const std::string& label) {
  bool made = false;
  auto key = need(hsm.make(label, {}, made));
  assert_true(made);
  return key;
}

Secret data_key() {
  return Secret(std::string_view("0123456789abcdef0123456789ABCDEF"));
}

void a_key_is_made_once(void**) {
  unit::require_token();
  unit::Hsm token;
  const auto hsm = open_hsm(token.options().hsm);
  assert_kind(hsm->look("seal", {}), ErrorKind::configuration, "run 'kmsctl seal setup'");
  const seal::HsmKey key = make(*hsm, "seal");
  unit::assert_contains(key.id, "hsm-");
  bool made = true;
  const seal::HsmKey again = need(hsm->make("seal", {}, made));
  assert_false(made);
  unit::assert_text(again.parameters, key.parameters);
  unit::assert_text(need(hsm->look("seal", {})).id, key.id);
  unit::assert_text(seal::Hsm::label_of(key.parameters), "seal");
  need(hsm->prove(key.parameters, {}));
  assert_true(make(*hsm, "other").id != key.id);
  for (const char* bad : {"", "{}", R"({"id":"00","label":"seal","check":"00000000"})"}) {
    unit::assert_text(seal::Hsm::label_of(bad), "");
    assert_kind(hsm->key(bad), ErrorKind::corrupt);
  }
  assert_kind(seal::Hsm::open(token.options().hsm, "nobody"), ErrorKind::configuration,
              "hadoop.kms.trustee.seal.hsm.profile");
}

void it_wraps_and_unwraps(void**) {
  unit::require_token();
  unit::Hsm token;
  Log log;
  const auto hsm = open_hsm(token.options().hsm);
  const seal::HsmKey made = make(*hsm, "seal"), second = make(*hsm, "second");
  const auto key = need(hsm->key(made.parameters)), other = need(hsm->key(second.parameters));
  unit::assert_text(key->id(), made.id);
  assert_kind(key->wrap(data_key(), as_bytes("row")), ErrorKind::unavailable);
  assert_false(hsm->ready());
  hsm->start(log);
  assert_true(hsm->ready());
  const Bytes wrapped = need(key->wrap(data_key(), as_bytes("row")));
  assert_true(wrapped != need(key->wrap(data_key(), as_bytes("row"))));
  assert_true(need(key->unwrap(wrapped, as_bytes("row"))).equals(data_key().view()));
  assert_kind(key->unwrap(wrapped, as_bytes("another row")), ErrorKind::corrupt);
  assert_kind(other->unwrap(wrapped, as_bytes("row")), ErrorKind::corrupt);
  for (std::size_t at = 0; at < wrapped.size(); ++at) {
    Bytes changed = wrapped;
    changed[at] ^= 0x10;
    assert_kind(key->unwrap(changed, as_bytes("row")), ErrorKind::corrupt);
    changed = wrapped;
    changed.resize(at);
    assert_kind(key->unwrap(changed, as_bytes("row")), ErrorKind::corrupt);
  }
  std::vector<std::thread> threads;
  std::atomic<int> bad{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        auto one = key->wrap(data_key(), as_bytes("row"));
        auto back = one.ok() ? key->unwrap(*one, as_bytes("row")) : Result<Secret>(Secret());
        bad += !back.ok() || !back->equals(data_key().view());
      }
    });
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(bad.load(), 0);
}

// Another HSM with a key of the same label, and one whose material somebody has.
void foreign_keys_are_refused(void**) {
  unit::require_token();
  std::string parameters;
  {
    unit::Hsm first;
    parameters = make(*open_hsm(first.options().hsm), "seal").parameters;
  }
  unit::Hsm second;
  Log log;
  const auto hsm = open_hsm(second.options().hsm);
  make(*hsm, "seal");
  assert_kind(hsm->prove(parameters, {}), ErrorKind::configuration, "does not have the key");
  second.dir.write("material", std::string(32, 'm'));
  second.tool("--write-object " + second.dir.path("material") +
              " --type secrkey --key-type AES:32 --label carried --id "
              "000102030405060708090a0b0c0d0e0f");
  // opencryptoki does not tell how long such a key is, so that it is refused for that.
  assert_kind(hsm->look("carried", {}), ErrorKind::configuration,
              unit::token_kind() == "opencryptoki" ? "was not made by" : "brought in from outside");
  hsm->start(log);
  const auto key = need(hsm->key(parameters));
  assert_kind(key->wrap(data_key(), as_bytes("row")), ErrorKind::unavailable,
              "does not have the key");
}

// What is sealed by a key that was destroyed cannot be had back by anybody.
void a_destroyed_key_opens_nothing(void**) {
  unit::require_token();
  unit::Hsm token;
  Log log;
  const auto hsm = open_hsm(token.options().hsm);
  const seal::HsmKey made = make(*hsm, "seal");
  Bytes wrapped;
  {
    const auto before = open_hsm(token.options().hsm);
    before->start(log);
    wrapped = need(need(before->key(made.parameters))->wrap(data_key(), as_bytes("row")));
  }
  const auto access =
      need(pkcs11::TokenAccess::read(token.options().hsm, *pkcs11::find_profile("generic")));
  need(pkcs11::work_apart(access, {}, [](const pkcs11::Session& session) -> Result<std::string> {
    std::vector<pkcs11::TokenKey> keys;
    if (pkcs11::list_keys(session, keys) != CKR_OK || keys.size() != 1)
      return Error(ErrorKind::io, "not one key");
    if (pkcs11::destroy_key(session, keys[0].id, keys[0].label) != CKR_OK)
      return Error(ErrorKind::io, "not destroyed");
    return std::string();
  }));
  make(*hsm, "seal");  // one of the same name is another key
  hsm->start(log);
  assert_kind(need(hsm->key(made.parameters))->unwrap(wrapped, as_bytes("row")),
              ErrorKind::unavailable, "does not have the key");
}

// Behind p11-kit's server, which knows neither GCM nor CTR, and is killed.
void a_lost_token_comes_back(void**) {
  unit::require_token("remote");
  unit::Hsm token("remote");
  Log log;
  const auto hsm = open_hsm(token.options().hsm);
  const seal::HsmKey made = make(*hsm, "seal");
  hsm->start(log);
  const auto key = need(hsm->key(made.parameters));
  const Bytes wrapped = need(key->wrap(data_key(), as_bytes("row")));
  token.server->kill();
  assert_kind(key->unwrap(wrapped, as_bytes("row")), ErrorKind::unavailable);
  assert_true(eventually([&] { return !hsm->ready(); }));
  assert_true(hsm->condition().state == HealthState::failing);
  token.server->start();
  assert_true(eventually([&] { return key->unwrap(wrapped, as_bytes("row")).ok(); }));
  assert_true(hsm->condition().state == HealthState::good);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_key_is_made_once),       cmocka_unit_test(it_wraps_and_unwraps),
      cmocka_unit_test(foreign_keys_are_refused), cmocka_unit_test(a_destroyed_key_opens_nothing),
      cmocka_unit_test(a_lost_token_comes_back),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
