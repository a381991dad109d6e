// SPDX-License-Identifier: Apache-2.0
#include "pages/pages.h"

namespace kms {

void produce_status(const PageRequest&, rest::Answer& answer) {
  answer.text = "{\"status\": \"up\"}\n";
}

}  // namespace kms
