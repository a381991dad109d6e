// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "core/bytes.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/jceks/jceks_store.h"

namespace kms::jceks {

// PBEWithMD5AndTripleDES as SunJCE has it (jceks.md b.2, b.3), by OpenSSL. The password is ASCII,
// as Java demands; the iteration count belongs to each entry.

struct PbeParams {
  std::array<std::uint8_t, 8> salt{};
  std::int32_t iterations = 0;
};

// DER of the parameters: SEQUENCE { OCTET STRING salt, INTEGER iterations }.
Result<PbeParams> parse_pbe_params(ByteView der);
Bytes encode_pbe_params(const PbeParams& params);

// Whether this OpenSSL offers MD5, 3DES and SHA-1; not so in FIPS mode.
Result<void> pbe_available();

// A fresh salt; never one whose halves are equal, which JDKs disagree about.
Result<PbeParams> new_pbe_params(std::int32_t iterations);

Result<Bytes> pbe_encrypt(const PbeParams& params, ByteView password, ByteView plaintext);

// Decrypts a serialized object. Salts with equal halves are tried as today's JDKs read them and
// then as JDK 7 wrote them. The plaintext is without padding and begins with the header of a Java
// stream.
Result<Secret> pbe_decrypt(const PbeParams& params, ByteView password, ByteView ciphertext,
                           std::int32_t max_iterations = kMaxIterations);

// SHA-1 of a keystore: over the password in UTF-16BE, "Mighty Aphrodite", and the body.
using StoreDigest = std::array<std::uint8_t, 20>;
Result<StoreDigest> store_digest(ByteView password, ByteView body);

}  // namespace kms::jceks
