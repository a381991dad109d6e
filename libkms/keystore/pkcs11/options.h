// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "keystore/eek_queue_options.h"
#include "pkcs11/options.h"

namespace kms::pkcs11 {

// The token of a store of keys, and what the store does beside.
struct StoreTokenOptions : HsmOptions {
  std::string metadata_uri;   // of a store trustee:// with the metadata; empty: they are in a file
  EekQueueOptions eek_queue;  // of EEKs made in advance; by default none
  std::string previous_uri;   // of the keystore that keys were adopted from; empty: there is none
};

}  // namespace kms::pkcs11
