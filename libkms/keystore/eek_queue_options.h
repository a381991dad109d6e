// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace kms {

// hadoop.security.kms.encrypted.key.cache.*, with the meaning that they have for a Java KMS.
struct EekQueueOptions {
  std::int64_t size = 0;              // EEKs kept ready for each key; 0: none
  double low_watermark = 0.3;         // of size: with fewer than this a queue is filled again
  std::int64_t expiry_ms = 43200000;  // a queue that nobody asks for is dropped after this
  std::int64_t fill_threads = 2;      // over all keys; one at most for each
};

}  // namespace kms
