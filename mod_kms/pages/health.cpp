// SPDX-License-Identifier: Apache-2.0
#include "pages/pages.h"

namespace kms {

void produce_health(const PageRequest&, rest::Answer& answer) {
  answer.text = "{\"status\": \"up\"}\n";
}

}  // namespace kms
