// SPDX-License-Identifier: Apache-2.0
#include "auth/signer.h"

#include <utility>

#include "auth/secret_file.h"
#include "auth/signature.h"
#include "auth/text.h"

namespace kms {
namespace {

class FixedSigner final : public SignerSecrets {
 public:
  explicit FixedSigner(Secret secret) : secret_(std::move(secret)) {}
  Result<Sha256Mac> sign(std::string_view text) override {
    return hmac_sha256(secret_.view(), as_bytes(text));
  }
  bool verify(std::string_view text, std::string_view base64) override {
    return signature_matches(secret_.view(), text, base64);
  }

 private:
  const Secret secret_;
};

}  // namespace

std::unique_ptr<SignerSecrets> make_fixed_signer(Secret secret) {
  return std::make_unique<FixedSigner>(std::move(secret));
}

Result<Secret> read_signature_secret(const std::string& path) {
  SecretFile file = read_secret_file(path);
  if (file.good()) return std::move(file.secret);
  return Error(ErrorKind::configuration, "hadoop.kms.authentication.signature.secret.file: " +
                                             printable(path, 1024) + ": " + file.problem);
}

}  // namespace kms
