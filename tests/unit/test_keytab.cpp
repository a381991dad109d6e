// SPDX-License-Identifier: Apache-2.0
// Principals of keytab files, which the test writes with libkrb5; and files that are none.
#include <krb5.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <string>
#include <vector>

#include "auth/keytab.h"
#include "temp_dir.h"
#include "unit.h"

using namespace kms;

namespace {

void add_key(const std::string& file, const char* principal, unsigned version) {
  krb5_context krb5 = nullptr;
  krb5_keytab keytab = nullptr;
  krb5_keytab_entry entry{};
  assert_int_equal(0, krb5_init_context(&krb5));
  assert_int_equal(0, krb5_kt_resolve(krb5, ("WRFILE:" + file).c_str(), &keytab));
  assert_int_equal(0, krb5_parse_name(krb5, principal, &entry.principal));
  entry.vno = version;
  std::vector<krb5_octet> key(32, 7);
  entry.key.enctype = ENCTYPE_AES256_CTS_HMAC_SHA1_96;
  entry.key.length = static_cast<unsigned>(key.size());
  entry.key.contents = key.data();
  assert_int_equal(0, krb5_kt_add_entry(krb5, keytab, &entry));
  krb5_free_principal(krb5, entry.principal);
  krb5_kt_close(krb5, keytab);
  krb5_free_context(krb5);
}

void each_principal_once(void**) {
  const unit::TempDir dir;
  const std::string file = dir.path("keytab");
  add_key(file, "HTTP/a.example.test@TEST.REALM", 1);
  add_key(file, "HTTP/a.example.test@TEST.REALM", 2);
  add_key(file, "alice@OTHER.REALM", 1);
  const auto names = keytab_principals(file);
  assert_true(names.ok());
  assert_true(*names ==
              (std::vector<std::string>{"HTTP/a.example.test@TEST.REALM", "alice@OTHER.REALM"}));
}

void files_that_are_none(void**) {
  const unit::TempDir dir;
  const std::string file = dir.path("keytab");
  assert_false(keytab_principals(file).ok());
  for (const std::string& content :
       {std::string(), std::string("no keytab"), std::string("\5\3")}) {
    dir.write("keytab", content);
    const auto names = keytab_principals(file);
    assert_false(names.ok());
    assert_true(names.error().kind == ErrorKind::configuration);
    assert_false(names.error().message.empty());
  }
}

// libkrb5 itself loses what it had of an entry that ends too early; that is not ours to report.
class LossesOfLibkrb5 {
 public:
#ifdef __SANITIZE_ADDRESS__
  LossesOfLibkrb5() {
    __lsan_disable();
  }
  ~LossesOfLibkrb5() {
    __lsan_enable();
  }
#else
  LossesOfLibkrb5() {}
#endif
  LossesOfLibkrb5(const LossesOfLibkrb5&) = delete;
  LossesOfLibkrb5& operator=(const LossesOfLibkrb5&) = delete;
};

// A file that ends within an entry holds what stands before it.
void cut_anywhere(void**) {
  const unit::TempDir dir;
  const std::string file = dir.path("keytab");
  add_key(file, "HTTP/a@TEST.REALM", 1);
  const std::string whole = unit::read_file(file);
  const LossesOfLibkrb5 ignored;
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto names = keytab_principals(dir.write("cut", whole.substr(0, length)));
    assert_true(!names.ok() || names->size() <= 1);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(each_principal_once),
      cmocka_unit_test(files_that_are_none),
      cmocka_unit_test(cut_anywhere),
  };
  return cmocka_run_group_tests_name("keytab", tests, nullptr, nullptr);
}
