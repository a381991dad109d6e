// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/token_objects.h"

#include "pkcs11/library.h"

namespace kms::pkcs11 {

Error refused_material() {
  return Error(ErrorKind::unsupported,
               "The keys of this KMS are made in the HSM and never leave it; key material from "
               "outside is not taken");
}

Result<void> check_kind(const std::string& cipher, std::int32_t bits) {
  std::string family = cipher.substr(0, cipher.find('/'));
  for (char& c : family) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  if (family != "aes")
    return Error(ErrorKind::unsupported,
                 "The HSM keystore makes AES keys only, not '" + cipher + "'");
  if (bits == 128 || bits == 192 || bits == 256) return {};
  return Error(ErrorKind::invalid_key_length, "Wrong keysize: must be equal to 128, 192 or 256");
}

Result<void> able_to_change(const Token& token, bool check_only) {
  if (check_only) return Error(ErrorKind::unsupported, "The keystore was opened for a check only");
  if (token.ready()) return {};
  Error error(ErrorKind::unavailable, "The HSM cannot serve now, so no key can be changed");
  error.retry_after_s = 2;
  return error;
}

Result<void> make_object(Token& token, KeyRef& key) {
  const auto made = std::make_shared<KeyRef>(key);
  KMS_TRY(token.run("C_GenerateKey", [made](const Session& session) {
    // A search first: SoftHSM takes its own change for all that was new in the token, and does not
    // see what others made before it.
    bool taken = false;
    const CK_RV rv = has_key(session, made->id, taken);
    if (rv != CKR_OK) return rv;
    return taken ? kKeyDiffers : generate_key(session, *made);
  }));
  key = *made;
  return {};
}

Result<CK_RV> destroy_object(Token& token, const std::string& id, const std::string& label,
                             Token::Moment since) {
  return token.look(
      "C_DestroyObject", label,
      [id, label](const Session& session) { return destroy_key(session, id, label); }, since);
}

Result<bool> sees_object(Token& token, const std::string& id) {
  const auto there = std::make_shared<bool>(false);
  KMS_TRY(token.run("C_FindObjects",
                    [there, id](const Session& session) { return has_key(session, id, *there); }));
  return *there;
}

}  // namespace kms::pkcs11
