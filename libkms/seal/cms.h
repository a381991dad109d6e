// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"

struct x509_st;
struct evp_pkey_st;
struct bio_st;

namespace kms {

// Encryption to the holders of private keys: CMS AuthEnvelopedData (RFC 5083) with AES-256-GCM, by
// OpenSSL. RSA keys by OAEP with SHA-256, EC keys by ECDH with SHA-256. It says nothing about who
// encrypted. One object for one thread.
class CmsRecipients {
 public:
  // PEM files, each with one X.509 certificate. Whether it is still valid, and who signed it, is
  // not looked at. Errors: configuration.
  static Result<CmsRecipients> load(std::span<const std::string> files);
  // PEM text: one block "CMS", its end of line included. Each recipient can open it alone.
  Result<std::string> seal(ByteView plain) const;

 private:
  struct Free {
    void operator()(x509_st* x) const;
  };
  std::vector<std::unique_ptr<x509_st, Free>> certificates_;
};

// The private key of one of the recipients.
class CmsKey {
 public:
  // A PEM file that others may not read, see read_private_file; password where it is encrypted,
  // else null. Errors: configuration.
  static Result<CmsKey> load(const std::string& file, const Secret* password);

 private:
  friend class CmsFile;
  struct Free {
    void operator()(evp_pkey_st* k) const;
  };
  std::unique_ptr<evp_pkey_st, Free> key_;
};

// A file of PEM blocks, one after the other.
class CmsFile {
 public:
  // ErrorKind::configuration when it cannot be read.
  static Result<CmsFile> open(const std::string& path);
  // The content of the next block; nullopt after the last one. Errors: corrupt when the block is
  // damaged, wrong_password when it is not encrypted to the key.
  Result<std::optional<Secret>> next(const CmsKey& key);
  std::int64_t position() const;  // bytes that were read so far

 private:
  struct Free {
    void operator()(bio_st* b) const;
  };
  std::string path_;
  std::unique_ptr<bio_st, Free> file_;
};

}  // namespace kms
