// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/keys.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>

#include "pkcs11/library.h"

namespace kms::pkcs11 {
namespace {

CK_ATTRIBUTE text_attribute(CK_ATTRIBUTE_TYPE type, const std::string& text) {
  return {type, const_cast<char*>(text.data()), text.size()};
}

// All handles that a search finds; a search that was begun is always ended.
CK_RV find_all(const Session& s, CK_ATTRIBUTE* wanted, CK_ULONG count,
               std::vector<CK_OBJECT_HANDLE>& out) {
  CK_RV rv = s.functions->C_FindObjectsInit(s.handle, wanted, count);
  if (rv != CKR_OK) return rv;
  std::array<CK_OBJECT_HANDLE, 64> some;
  CK_ULONG got = 0;
  do {
    rv = s.functions->C_FindObjects(s.handle, some.data(), some.size(), &got);
    if (rv == CKR_OK) out.insert(out.end(), some.begin(), some.begin() + got);
  } while (rv == CKR_OK && got > 0);
  const CK_RV ended = s.functions->C_FindObjectsFinal(s.handle);
  return rv != CKR_OK ? rv : ended;
}

CK_RV find_by_id(const Session& s, const std::string& id, std::vector<CK_OBJECT_HANDLE>& out) {
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &kind, sizeof kind}, text_attribute(CKA_ID, id)};
  return find_all(s, wanted, std::size(wanted), out);
}

// Empty where the token has none, which others' keys need not have.
CK_RV read_text(const Session& s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                std::string& out) {
  out.clear();
  CK_ATTRIBUTE asked{type, nullptr, 0};
  CK_RV rv = s.functions->C_GetAttributeValue(s.handle, object, &asked, 1);
  if (rv == CKR_ATTRIBUTE_TYPE_INVALID) return CKR_OK;
  if (rv != CKR_OK || asked.ulValueLen == CK_UNAVAILABLE_INFORMATION) return rv;
  out.resize(asked.ulValueLen);
  asked.pValue = out.data();
  rv = s.functions->C_GetAttributeValue(s.handle, object, &asked, 1);
  if (rv == CKR_OK) out.resize(asked.ulValueLen);
  return rv;
}

// 0 where the token does not tell: opencryptoki does not know the length of a key that it did not
// make.
CK_RV read_bits(const Session& s, CK_OBJECT_HANDLE object, std::int32_t& bits) {
  CK_ULONG bytes = 0;
  CK_ATTRIBUTE asked{CKA_VALUE_LEN, &bytes, sizeof bytes};
  const CK_RV rv = s.functions->C_GetAttributeValue(s.handle, object, &asked, 1);
  bits = rv == CKR_OK ? static_cast<std::int32_t>(bytes) * 8 : 0;
  return rv == CKR_ATTRIBUTE_TYPE_INVALID ? CKR_OK : rv;
}

CK_RV check_value(const Session& s, CK_OBJECT_HANDLE object, Bytes& out) {
  std::array<std::uint8_t, kBlock> zeros{}, block{};
  const CK_RV rv = encrypt_blocks(s, object, zeros.data(), zeros.size(), block.data());
  out.assign(block.begin(), block.begin() + kCheckSize);
  OPENSSL_cleanse(block.data(), block.size());
  return rv;
}

CK_RV compare(const Session& s, CK_OBJECT_HANDLE object, const KeyRef& key) {
  std::string label;
  std::int32_t bits = 0;
  Bytes check;
  CK_RV rv = CKR_OK;
  if (rv = read_text(s, object, CKA_LABEL, label); rv != CKR_OK) return rv;
  if (rv = read_bits(s, object, bits); rv != CKR_OK) return rv;
  if (label != key.label || (bits != 0 && bits != key.bits)) return kKeyDiffers;
  if (rv = check_value(s, object, check); rv != CKR_OK) return rv;
  return check == key.check ? CKR_OK : kKeyDiffers;
}

}  // namespace

CK_RV generate_key(const Session& s, KeyRef& key, bool permanent) {
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  CK_ULONG bytes = static_cast<CK_ULONG>(key.bits / 8);
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE, token = permanent ? CK_TRUE : CK_FALSE;
  std::vector<CK_ATTRIBUTE> wanted = {
      {CKA_CLASS, &kind, sizeof kind},
      {CKA_KEY_TYPE, &type, sizeof type},
      {CKA_VALUE_LEN, &bytes, sizeof bytes},
      {CKA_TOKEN, &token, sizeof token},
      {CKA_PRIVATE, &yes, sizeof yes},
      {CKA_SENSITIVE, &yes, sizeof yes},
      {CKA_EXTRACTABLE, &no, sizeof no},
      {CKA_MODIFIABLE, &no, sizeof no},
      {CKA_ENCRYPT, &yes, sizeof yes},
      {CKA_DECRYPT, &no, sizeof no},
      {CKA_WRAP, &no, sizeof no},
      {CKA_UNWRAP, &no, sizeof no},
      {CKA_DERIVE, &no, sizeof no},
      {CKA_SIGN, &no, sizeof no},
      {CKA_VERIFY, &no, sizeof no},
      text_attribute(CKA_ID, key.id),
      text_attribute(CKA_LABEL, key.label),
      {CKA_COPYABLE, &no, sizeof no},
  };
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE object = 0;
  const auto make = [&] {
    return s.functions->C_GenerateKey(s.handle, &mechanism, wanted.data(), wanted.size(), &object);
  };
  CK_RV rv = make();
  if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_TEMPLATE_INCONSISTENT) {
    wanted.pop_back();  // PKCS#11 before 2.40
    rv = make();
  }
  if (rv != CKR_OK) return rv;
  return check_value(s, object, key.check);
}

CK_RV has_key(const Session& s, const std::string& id, bool& out) {
  std::vector<CK_OBJECT_HANDLE> found;
  const CK_RV rv = find_by_id(s, id, found);
  out = !found.empty();
  return rv;
}

// SoftHSM lists an object twice that was made while another thread of the process looked.
CK_RV find_key(const Session& s, const KeyRef& key, CK_OBJECT_HANDLE& out) {
  std::vector<CK_OBJECT_HANDLE> found;
  if (const CK_RV rv = find_by_id(s, key.id, found); rv != CKR_OK) return rv;
  if (found.empty()) return kKeyMissing;
  for (const CK_OBJECT_HANDLE object : found)
    if (const CK_RV rv = compare(s, object, key); rv != CKR_OK) return rv;
  out = found[0];
  return CKR_OK;
}

CK_RV destroy_key(const Session& s, const std::string& id, const std::string& label) {
  std::vector<CK_OBJECT_HANDLE> found;
  CK_RV rv = find_by_id(s, id, found);
  if (rv != CKR_OK) return rv;
  if (found.empty()) return kKeyMissing;
  std::string has;
  if (rv = read_text(s, found[0], CKA_LABEL, has); rv != CKR_OK) return rv;
  if (found.size() > 1 || has != label) return kKeyDiffers;
  return s.functions->C_DestroyObject(s.handle, found[0]);
}

CK_RV encrypt_blocks(const Session& s, CK_OBJECT_HANDLE key, const std::uint8_t* in,
                     std::size_t size, std::uint8_t* out) {
  CK_MECHANISM mechanism{CKM_AES_ECB, nullptr, 0};
  CK_RV rv = s.functions->C_EncryptInit(s.handle, &mechanism, key);
  if (rv != CKR_OK) return rv;
  CK_ULONG written = size;
  rv = s.functions->C_Encrypt(s.handle, const_cast<CK_BYTE*>(in), size, out, &written);
  return rv == CKR_OK && written != size ? CKR_FUNCTION_FAILED : rv;
}

CK_RV read_check(const Session& s, KeyRef& key) {
  std::vector<CK_OBJECT_HANDLE> found;
  const CK_RV rv = find_by_id(s, key.id, found);
  if (rv != CKR_OK) return rv;
  if (found.size() != 1) return found.empty() ? kKeyMissing : kKeyDiffers;
  return check_value(s, found[0], key.check);
}

CK_RV never_outside(const Session& s, const std::string& id, bool& out) {
  std::vector<CK_OBJECT_HANDLE> found;
  CK_RV rv = find_by_id(s, id, found);
  if (rv != CKR_OK) return rv;
  if (found.size() != 1) return found.empty() ? kKeyMissing : kKeyDiffers;
  CK_BBOOL local = CK_FALSE, sensitive = CK_FALSE, never = CK_FALSE;
  CK_ATTRIBUTE asked[] = {{CKA_LOCAL, &local, sizeof local},
                          {CKA_ALWAYS_SENSITIVE, &sensitive, sizeof sensitive},
                          {CKA_NEVER_EXTRACTABLE, &never, sizeof never}};
  rv = s.functions->C_GetAttributeValue(s.handle, found[0], asked, std::size(asked));
  out = rv == CKR_OK && local == CK_TRUE && sensitive == CK_TRUE && never == CK_TRUE;
  return rv;
}

CK_RV list_keys(const Session& s, std::vector<TokenKey>& out) {
  CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &kind, sizeof kind}, {CKA_KEY_TYPE, &type, sizeof type}};
  std::vector<CK_OBJECT_HANDLE> found;
  CK_RV rv = find_all(s, wanted, std::size(wanted), found);
  if (rv != CKR_OK) return rv;
  for (const CK_OBJECT_HANDLE object : found) {
    TokenKey key;
    rv = read_text(s, object, CKA_ID, key.id);
    if (rv == CKR_OK) rv = read_text(s, object, CKA_LABEL, key.label);
    if (rv == CKR_OK) rv = read_bits(s, object, key.bits);
    if (rv == CKR_OBJECT_HANDLE_INVALID) continue;  // somebody destroyed it in between
    if (rv != CKR_OK) return rv;
    out.push_back(std::move(key));
  }
  return CKR_OK;
}

}  // namespace kms::pkcs11
