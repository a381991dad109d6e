// SPDX-License-Identifier: Apache-2.0
#include "pages/pages.h"

namespace kms {

void produce_prom(const PageRequest&, rest::Answer& answer) {
  answer.text = "# HELP kms_up Whether the KMS answers.\n# TYPE kms_up gauge\nkms_up 1\n";
}

}  // namespace kms
