// SPDX-License-Identifier: Apache-2.0
// That nothing gets a key out of the token: every way that PKCS#11 has, tried by somebody who is
// logged in, each beside the same with a key that may leave.
#include <algorithm>
#include <array>

#include "hsm_util.h"
#include "pkcs11/address.h"
#include "pkcs11/keys.h"

using namespace kms;
using namespace kms::pkcs11;
using unit::Hsm;
using unit::Log;
using unit::need;

namespace {

using Outcomes = std::vector<CK_RV>;

// Not in the headers of p11-kit 0.24.
constexpr CK_MECHANISM_TYPE kKeyWrapKwp = 0x210B;  // CKM_AES_KEY_WRAP_KWP

void assert_one_of(const char* what, CK_RV got, const Outcomes& wanted) {
  if (std::find(wanted.begin(), wanted.end(), got) != wanted.end()) return;
  print_error("%s\n", call_text(what, got).c_str());
  _fail(what, 0);
}

// The key secret@0 of a store, and a session of somebody else who is logged in.
class Intruder {
 public:
  Intruder() : store_(hsm_.open(log_)), library_(need(Library::load(hsm_.library))) {
    assert_int_equal(library_.initialize(), CKR_OK);
    need(store_->create("secret", unit::aes_key(256), nullptr));
    Login login;
    const Secret pin(std::string_view("1234"));
    unit::assert_text(log_in(library_, need(TokenAddress::parse(hsm_.address())), pin, login).text,
                      "");
    s = login.session;
    key = find("secret@0");
    CK_BBOOL yes = CK_TRUE;
    wrapper = make({{CKA_WRAP, &yes, sizeof yes}});
  }
  CK_FUNCTION_LIST* operator->() const { return library_.operator->(); }
  CK_OBJECT_HANDLE find(std::string label) const {
    CK_ATTRIBUTE wanted[] = {{CKA_LABEL, label.data(), label.size()}};
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;
    assert_int_equal(library_->C_FindObjectsInit(s, wanted, 1), CKR_OK);
    assert_int_equal(library_->C_FindObjects(s, &found, 1, &count), CKR_OK);
    library_->C_FindObjectsFinal(s);
    return count == 1 ? found : CK_INVALID_HANDLE;
  }
  // An AES key of the session.
  CK_OBJECT_HANDLE make(std::vector<CK_ATTRIBUTE> wanted) const {
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    CK_ULONG bytes = 32;
    wanted.push_back({CKA_VALUE_LEN, &bytes, sizeof bytes});
    CK_OBJECT_HANDLE made = 0;
    assert_int_equal(library_->C_GenerateKey(s, &mechanism, wanted.data(), wanted.size(), &made),
                     CKR_OK);
    return made;
  }
  CK_RV wrap(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE what) const {
    CK_BYTE iv[16] = {}, out[128];
    CK_ULONG size = sizeof out;
    CK_MECHANISM mechanism{type, nullptr, 0};
    if (type == CKM_AES_CBC || type == CKM_AES_CBC_PAD) mechanism = {type, iv, sizeof iv};
    return library_->C_WrapKey(s, &mechanism, wrapper, what, out, &size);
  }

  CK_SESSION_HANDLE s = 0;
  CK_OBJECT_HANDLE key = 0, wrapper = 0;

 private:
  Hsm hsm_;
  Log log_;
  std::unique_ptr<KeyStore> store_;
  Library library_;
};

void its_value_is_not_read(void**) {
  unit::require_token();
  Intruder it;
  std::array<CK_BYTE, 64> value;
  value.fill(0xA5);
  CK_ATTRIBUTE read{CKA_VALUE, value.data(), value.size()};
  assert_int_equal(it->C_GetAttributeValue(it.s, it.key, &read, 1), CKR_ATTRIBUTE_SENSITIVE);
  assert_true(std::all_of(value.begin(), value.end(), [](CK_BYTE b) { return b == 0xA5; }));
  // Nor among others, which are given.
  std::array<CK_BYTE, 64> label;
  CK_ATTRIBUTE both[] = {{CKA_LABEL, label.data(), label.size()},
                         {CKA_VALUE, value.data(), value.size()}};
  assert_int_equal(it->C_GetAttributeValue(it.s, it.key, both, 2), CKR_ATTRIBUTE_SENSITIVE);
  assert_true(std::all_of(value.begin(), value.end(), [](CK_BYTE b) { return b == 0xA5; }));
}

void its_attributes_stay(void**) {
  unit::require_token();
  Intruder it;
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  const auto has = [&](CK_ATTRIBUTE_TYPE type) {
    CK_BBOOL value = 2;
    CK_ATTRIBUTE ask{type, &value, sizeof value};
    assert_int_equal(it->C_GetAttributeValue(it.s, it.key, &ask, 1), CKR_OK);
    return value;
  };
  const Outcomes refused{CKR_ATTRIBUTE_READ_ONLY, CKR_ACTION_PROHIBITED,
                         CKR_ATTRIBUTE_VALUE_INVALID};
  for (const CK_ATTRIBUTE_TYPE type :
       {CKA_EXTRACTABLE, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE, CKA_SIGN, CKA_MODIFIABLE}) {
    assert_int_equal(has(type), CK_FALSE);
    CK_ATTRIBUTE change{type, &yes, sizeof yes};
    assert_one_of("C_SetAttributeValue", it->C_SetAttributeValue(it.s, it.key, &change, 1),
                  refused);
    assert_int_equal(has(type), CK_FALSE);
  }
  for (const CK_ATTRIBUTE_TYPE type : {CKA_SENSITIVE, CKA_PRIVATE, CKA_NEVER_EXTRACTABLE,
                                       CKA_ALWAYS_SENSITIVE, CKA_LOCAL, CKA_TOKEN, CKA_ENCRYPT}) {
    assert_int_equal(has(type), CK_TRUE);
    CK_ATTRIBUTE change{type, &no, sizeof no};
    assert_one_of("C_SetAttributeValue", it->C_SetAttributeValue(it.s, it.key, &change, 1),
                  refused);
    assert_int_equal(has(type), CK_TRUE);
  }
}

bool is_readable(Intruder& it, CK_OBJECT_HANDLE object) {
  std::array<CK_BYTE, 64> value;
  CK_ATTRIBUTE read{CKA_VALUE, value.data(), value.size()};
  const CK_RV rv = it->C_GetAttributeValue(it.s, object, &read, 1);
  if (rv != CKR_OK) assert_int_equal(rv, CKR_ATTRIBUTE_SENSITIVE);
  return rv == CKR_OK;
}

// By everything that makes a key of a key, asked for one that may be read.
void nothing_is_derived(Intruder& it, CK_OBJECT_HANDLE from, const Outcomes& refused) {
  CK_BYTE data[32] = {};
  CK_KEY_DERIVATION_STRING_DATA given{data, sizeof data};
  CK_ULONG bit = 0, bytes = 32;
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &kind, sizeof kind},
                           {CKA_KEY_TYPE, &type, sizeof type},
                           {CKA_VALUE_LEN, &bytes, sizeof bytes},
                           {CKA_SENSITIVE, &no, sizeof no},
                           {CKA_EXTRACTABLE, &yes, sizeof yes}};
  for (CK_MECHANISM by : {CK_MECHANISM{CKM_AES_ECB_ENCRYPT_DATA, &given, sizeof given},
                          CK_MECHANISM{CKM_CONCATENATE_BASE_AND_DATA, &given, sizeof given},
                          CK_MECHANISM{CKM_XOR_BASE_AND_DATA, &given, sizeof given},
                          CK_MECHANISM{CKM_EXTRACT_KEY_FROM_KEY, &bit, sizeof bit}}) {
    CK_OBJECT_HANDLE derived = 0;
    assert_one_of("C_DeriveKey",
                  it->C_DeriveKey(it.s, &by, from, wanted, std::size(wanted), &derived), refused);
  }
}

// A token that knows CKA_COPYABLE makes no copies. One that does not makes some that may do more,
// and still none that says its value.
void no_copy_says_more(void**) {
  unit::require_token();
  Intruder it;
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  const Outcomes refused{CKR_ATTRIBUTE_READ_ONLY, CKR_ACTION_PROHIBITED};
  for (CK_ATTRIBUTE less : {CK_ATTRIBUTE{CKA_SENSITIVE, &no, sizeof no},
                            CK_ATTRIBUTE{CKA_EXTRACTABLE, &yes, sizeof yes}}) {
    CK_OBJECT_HANDLE copy = 0;
    assert_one_of("C_CopyObject", it->C_CopyObject(it.s, it.key, &less, 1, &copy), refused);
  }
  for (const CK_ATTRIBUTE_TYPE type : {CKA_DECRYPT, CKA_DERIVE, CKA_WRAP, CKA_SIGN}) {
    CK_ATTRIBUTE more[] = {{CKA_TOKEN, &no, sizeof no}, {type, &yes, sizeof yes}};
    CK_OBJECT_HANDLE copy = 0;
    const CK_RV rv = it->C_CopyObject(it.s, it.key, more, std::size(more), &copy);
    if (rv != CKR_OK) {
      assert_one_of("C_CopyObject", rv, refused);
      continue;
    }
    assert_false(is_readable(it, copy));
    assert_int_equal(it.wrap(CKM_AES_CBC, copy), CKR_KEY_UNEXTRACTABLE);
    nothing_is_derived(it, copy, {CKR_MECHANISM_INVALID});
  }
}

void nothing_wraps_it(void**) {
  unit::require_token();
  Intruder it;
  CK_BBOOL yes = CK_TRUE;
  const CK_OBJECT_HANDLE open = it.make({{CKA_EXTRACTABLE, &yes, sizeof yes}});
  int able = 0;
  for (const CK_MECHANISM_TYPE type : {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, kKeyWrapKwp,
                                       CKM_AES_ECB, CKM_AES_CBC, CKM_AES_CBC_PAD}) {
    const CK_RV control = it.wrap(type, open);
    able += control == CKR_OK;
    assert_int_equal(it.wrap(type, it.key),
                     control == CKR_OK ? CKR_KEY_UNEXTRACTABLE : CKR_MECHANISM_INVALID);
  }
  // p11-kit's protocol carries none of them.
  assert_int_equal(able > 0, unit::token_kind() != "remote");
}

void it_only_encrypts(void**) {
  unit::require_token();
  Intruder it;
  const Outcomes refused{CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID};
  CK_MECHANISM ecb{CKM_AES_ECB, nullptr, 0}, cmac{CKM_AES_CMAC, nullptr, 0},
      wrap{CKM_AES_KEY_WRAP, nullptr, 0};
  assert_int_equal(it->C_DecryptInit(it.s, &ecb, it.key), CKR_KEY_FUNCTION_NOT_PERMITTED);
  assert_one_of("C_SignInit", it->C_SignInit(it.s, &cmac, it.key), refused);
  CK_BYTE blob[40] = {};
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &kind, sizeof kind}, {CKA_KEY_TYPE, &type, sizeof type}};
  CK_OBJECT_HANDLE unwrapped = 0;
  assert_one_of("C_UnwrapKey",
                it->C_UnwrapKey(it.s, &wrap, it.key, blob, sizeof blob, wanted, 2, &unwrapped),
                {CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID,
                 CKR_WRAPPING_KEY_HANDLE_INVALID /* Kryoptic */});
  nothing_is_derived(it, it.key, refused);
}

void nobody_uses_it_without_the_pin(void**) {
  unit::require_token();
  Intruder it;
  assert_int_equal(it->C_Logout(it.s), CKR_OK);
  assert_int_equal(it.find("secret@0"), CK_INVALID_HANDLE);
  CK_BYTE block[16] = {};
  CK_ULONG size = sizeof block;
  CK_MECHANISM ecb{CKM_AES_ECB, nullptr, 0};
  CK_RV rv = it->C_EncryptInit(it.s, &ecb, it.key);
  if (rv == CKR_OK) rv = it->C_Encrypt(it.s, block, sizeof block, block, &size);
  assert_one_of("C_Encrypt", rv,
                {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN,
                 CKR_GENERAL_ERROR /* Kryoptic */});
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(its_value_is_not_read), cmocka_unit_test(its_attributes_stay),
      cmocka_unit_test(no_copy_says_more),     cmocka_unit_test(nothing_wraps_it),
      cmocka_unit_test(it_only_encrypts),      cmocka_unit_test(nobody_uses_it_without_the_pin),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
