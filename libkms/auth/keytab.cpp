// SPDX-License-Identifier: Apache-2.0
#include "auth/keytab.h"

#include <krb5.h>

#include <algorithm>

namespace kms {
namespace {

Error told(krb5_context krb5, krb5_error_code code) {
  const char* text = krb5_get_error_message(krb5, code);
  Error error(ErrorKind::configuration, text);
  krb5_free_error_message(krb5, text);
  return error;
}

Result<std::vector<std::string>> read(krb5_context krb5, krb5_keytab keytab) {
  std::vector<std::string> names;
  krb5_kt_cursor cursor{};
  if (const auto code = krb5_kt_start_seq_get(krb5, keytab, &cursor); code != 0)
    return told(krb5, code);
  krb5_keytab_entry entry{};
  krb5_error_code code = 0;
  while ((code = krb5_kt_next_entry(krb5, keytab, &entry, &cursor)) == 0) {
    char* name = nullptr;
    if (krb5_unparse_name(krb5, entry.principal, &name) == 0) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
      krb5_free_unparsed_name(krb5, name);
    }
    krb5_free_keytab_entry_contents(krb5, &entry);
  }
  krb5_kt_end_seq_get(krb5, keytab, &cursor);
  if (code != KRB5_KT_END) return told(krb5, code);
  return names;
}

}  // namespace

Result<std::vector<std::string>> keytab_principals(const std::string& file) {
  krb5_context krb5 = nullptr;
  if (krb5_init_context(&krb5) != 0)
    return Error(ErrorKind::configuration, "libkrb5 cannot be set up; see krb5.conf");
  krb5_keytab keytab = nullptr;
  const krb5_error_code code = krb5_kt_resolve(krb5, ("FILE:" + file).c_str(), &keytab);
  Result<std::vector<std::string>> names =
      code == 0 ? read(krb5, keytab) : Result<std::vector<std::string>>(told(krb5, code));
  if (keytab != nullptr) krb5_kt_close(krb5, keytab);
  krb5_free_context(krb5);
  return names;
}

}  // namespace kms
