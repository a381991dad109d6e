// SPDX-License-Identifier: Apache-2.0
#include "seal/cms.h"

#include <openssl/pem.h>
// which must be before cms.h
#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "seal/private_file.h"

namespace kms {
namespace {

constexpr std::size_t kMostKeyFile = 64 * 1024;  // bytes

struct BioFree {
  void operator()(BIO* b) const { BIO_free_all(b); }
};
using Bio = std::unique_ptr<BIO, BioFree>;
struct CmsFree {
  void operator()(CMS_ContentInfo* c) const { CMS_ContentInfo_free(c); }
};
using Cms = std::unique_ptr<CMS_ContentInfo, CmsFree>;

// What OpenSSL says of the last failure, and nothing of it for the next one.
std::string reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* text = code != 0 ? ERR_reason_error_string(code) : nullptr;
  ERR_clear_error();
  return text != nullptr ? text : "it failed in OpenSSL";
}

Error unusable(const std::string& file, const std::string& why) {
  return Error(ErrorKind::configuration, file + ": " + why);
}

Bio over(ByteView bytes) {
  return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

ByteView content(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return {reinterpret_cast<const std::uint8_t*>(data),
          static_cast<std::size_t>(std::max(size, 0L))};
}

// What CMS leaves at older values: OAEP instead of PKCS #1 v1.5, SHA-256 instead of SHA-1.
bool set_parameters(CMS_RecipientInfo* recipient) {
  EVP_PKEY_CTX* context = CMS_RecipientInfo_get0_pkey_ctx(recipient);
  if (context == nullptr) return false;
  if (CMS_RecipientInfo_type(recipient) == CMS_RECIPINFO_AGREE)
    return EVP_PKEY_CTX_set_ecdh_kdf_md(context, EVP_sha256()) == 1;
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) == 1 &&
         EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1;
}

}  // namespace

void CmsRecipients::Free::operator()(x509_st* x) const {
  X509_free(x);
}
void CmsKey::Free::operator()(evp_pkey_st* k) const {
  EVP_PKEY_free(k);
}
void CmsFile::Free::operator()(bio_st* b) const {
  BIO_free_all(b);
}

Result<CmsRecipients> CmsRecipients::load(std::span<const std::string> files) {
  CmsRecipients made;
  for (const std::string& file : files) {
    const Bio in(BIO_new_file(file.c_str(), "r"));
    if (in == nullptr) return unusable(file, reason());
    std::unique_ptr<x509_st, Free> one(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
    if (one == nullptr) return unusable(file, "no X.509 certificate in PEM: " + reason());
    const int type = EVP_PKEY_get_base_id(X509_get0_pubkey(one.get()));
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
      return unusable(file, "its key is neither RSA nor EC");
    made.certificates_.push_back(std::move(one));
  }
  if (made.certificates_.empty()) return unusable("recipients", "there is none");
  return made;
}

Result<std::string> CmsRecipients::seal(ByteView plain) const {
  const auto failed = [] {
    return Error(ErrorKind::internal, "Encrypting to the recipients failed: " + reason());
  };
  if (plain.size() > INT_MAX) return failed();
  const Bio in = over(plain), out(BIO_new(BIO_s_mem()));
  const Cms cms(
      CMS_encrypt(nullptr, nullptr, EVP_aes_256_gcm(), CMS_BINARY | CMS_PARTIAL | CMS_STREAM));
  if (cms == nullptr || in == nullptr || out == nullptr) return failed();
  for (const auto& certificate : certificates_) {
    CMS_RecipientInfo* recipient =
        CMS_add1_recipient_cert(cms.get(), certificate.get(), CMS_KEY_PARAM);
    if (recipient == nullptr || !set_parameters(recipient)) return failed();
  }
  if (CMS_final(cms.get(), in.get(), nullptr, CMS_BINARY) != 1 ||
      PEM_write_bio_CMS(out.get(), cms.get()) != 1)
    return failed();
  return std::string(as_text(content(out.get())));
}

Result<CmsKey> CmsKey::load(const std::string& file, const Secret* password) {
  auto text = read_private_file(file, "private key", kMostKeyFile);
  if (!text.ok()) return std::move(text).error();
  const Bio in = over(text->view());
  // Without a password OpenSSL would ask on the terminal.
  const auto answer = [](char* out, int size, int, void* given) -> int {
    const auto* secret = static_cast<const Secret*>(given);
    if (secret == nullptr || secret->size() > static_cast<std::size_t>(size)) return -1;
    if (!secret->empty()) std::memcpy(out, secret->view().data(), secret->size());
    return static_cast<int>(secret->size());
  };
  CmsKey made;
  made.key_.reset(
      PEM_read_bio_PrivateKey(in.get(), nullptr, answer, const_cast<Secret*>(password)));
  if (made.key_ == nullptr)
    return unusable(file, "no private key in PEM, or its password is another one: " + reason());
  return made;
}

Result<CmsFile> CmsFile::open(const std::string& path) {
  CmsFile made;
  made.path_ = path;
  made.file_.reset(BIO_new_file(path.c_str(), "r"));
  if (made.file_ == nullptr) return unusable(path, reason());
  return made;
}

std::int64_t CmsFile::position() const {
  return BIO_tell(file_.get());
}

// CMS_DEBUG_DECRYPT tells a key that does not fit from damage. There is nobody here who could learn
// something of that: whoever asks has the private key.
Result<std::optional<Secret>> CmsFile::next(const CmsKey& key) {
  ERR_clear_error();
  const Cms cms(PEM_read_bio_CMS(file_.get(), nullptr, nullptr, nullptr));
  if (cms == nullptr) {
    const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    const std::string why = reason();
    if (end) return std::optional<Secret>();
    return Error(ErrorKind::corrupt, path_ + ": it is damaged: " + why);
  }
  if (OBJ_obj2nid(CMS_get0_type(cms.get())) != NID_id_smime_ct_authEnvelopedData)
    return Error(ErrorKind::corrupt, path_ + ": a block in it is not CMS AuthEnvelopedData");
  if (CMS_decrypt(cms.get(), nullptr, nullptr, nullptr, nullptr, CMS_DEBUG_DECRYPT) != 1 ||
      CMS_decrypt_set1_pkey(cms.get(), key.key_.get(), nullptr) != 1)
    return Error(
        ErrorKind::wrong_password,
        path_ + ": it is not encrypted to this private key, or it is damaged: " + reason());
  const Bio out(BIO_new(BIO_s_secmem()));  // wipes what it gives back
  if (out == nullptr ||
      CMS_decrypt(cms.get(), nullptr, nullptr, nullptr, out.get(), CMS_BINARY) != 1)
    return Error(ErrorKind::corrupt, path_ + ": it is damaged: " + reason());
  return std::optional<Secret>(Secret(content(out.get())));
}

}  // namespace kms
