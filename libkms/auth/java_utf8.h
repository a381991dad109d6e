// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/bytes.h"
#include "core/secret.h"

namespace kms {

// What is left of bytes that Java reads as UTF-8 text and writes as UTF-8 again: each malformed
// sequence becomes U+FFFD. Hadoop does so to the signature secret file, which is often binary; a
// server that took the bytes themselves would not share cookies with Java services.
Secret java_utf8(ByteView bytes);

}  // namespace kms
