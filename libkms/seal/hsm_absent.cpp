// SPDX-License-Identifier: Apache-2.0
// Stands for sealing keys in a token in a build without p11-kit.
#include "seal/hsm.h"

namespace kms::seal {

Result<std::unique_ptr<Hsm>> Hsm::open(const pkcs11::HsmOptions&, const std::string&,
                                       std::shared_ptr<pkcs11::Token>) {
  return Error(ErrorKind::configuration,
               "a sealing key in an HSM needs PKCS#11, which this build does not support: p11-kit "
               "was not there when it was configured");
}

std::string Hsm::label_of(const std::string&) {
  return {};
}

}  // namespace kms::seal
