// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cstdio>
#include <memory>
#include <string>

#include "temp_dir.h"

namespace unit {

// A key pair of a test: NAME.key and, signed by itself, NAME.pem.
struct Recipient {
  std::string key, certificate;
  Recipient(const TempDir& dir, const std::string& name, bool elliptic,
            const char* password = nullptr)
      : key(dir.path(name + ".key")), certificate(dir.path(name + ".pem")) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair(
        elliptic ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048), &EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> made(X509_new(), &X509_free);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_NAME* subject = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(made.get(), subject);
    X509_set_pubkey(made.get(), pair.get());
    X509_sign(made.get(), pair.get(), EVP_sha256());
    std::FILE* out = std::fopen(certificate.c_str(), "w");
    PEM_write_X509(out, made.get());
    std::fclose(out);
    out = std::fopen(key.c_str(), "w");
    PEM_write_PKCS8PrivateKey(out, pair.get(), password != nullptr ? EVP_aes_256_cbc() : nullptr,
                              nullptr, 0, nullptr, const_cast<char*>(password));
    std::fclose(out);
    chmod(key.c_str(), 0600);
  }
};

}  // namespace unit
