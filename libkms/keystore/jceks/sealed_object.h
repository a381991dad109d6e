// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "core/bytes.h"
#include "core/result.h"

namespace kms::jceks {

// The outer stream of a secret key entry: com.sun.crypto.provider.SealedObjectForKeyProtector.
struct SealedObject {
  std::size_t size = 0;            // bytes of the stream; nothing else tells where it ends
  std::optional<ByteView> params;  // DER; absent where Java has null
  std::optional<ByteView> ciphertext;
};

// Reads one from the beginning of in. The views are into in. Errors (corrupt) in Java's words.
Result<SealedObject> parse_sealed_object(ByteView in);

// Byte for byte what Java writes.
Bytes encode_sealed_object(ByteView params, ByteView ciphertext);

}  // namespace kms::jceks
