// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/keygen.h"

#include <algorithm>
#include <string>

#include "crypto/random.h"

namespace kms::jceks {
namespace {

// What a generator takes: sizes from least to most in steps, or some single sizes; how many bytes
// it makes.
struct Generator {
  std::string_view name;  // lower case
  std::int32_t least, most, step;
  std::int32_t fixed_bytes;  // 0: as many as the bits need
  std::string_view refusal;
};

constexpr std::int32_t kAny = 1 << 20;  // Java has no limit; nobody needs more than 128 KiB
constexpr std::string_view kHmacRefusal = "Key length must be at least 40 bits";
constexpr std::string_view kDes3Refusal = "Wrong keysize: must be equal to 112 or 168";
constexpr std::string_view kArcfourRefusal =
    "Key length for ARCFOUR must be between 40 and 1024 bits";

// SunJCE of OpenJDK 17, without the generators that need TLS parameters. Names with a '/' cannot be
// asked for: the cipher is cut there.
constexpr Generator kGenerators[] = {
    {"aes", 128, 256, 64, 0, "Wrong keysize: must be equal to 128, 192 or 256"},
    {"arcfour", 40, 1024, 1, 0, kArcfourRefusal},
    {"rc4", 40, 1024, 1, 0, kArcfourRefusal},
    {"rc2", 40, 1024, 1, 0, "Key length for RC2 must be between 40 and 1024 bits"},
    {"blowfish", 32, 448, 8, 0,
     "Keysize must be multiple of 8, and can only range from 32 to 448 (inclusive)"},
    {"chacha20", 256, 256, 1, 0, "Key length for ChaCha20 must be 256 bits"},
    {"des", 56, 56, 1, 8, "Wrong keysize: must be equal to 56"},
    {"desede", 112, 168, 56, 24, kDes3Refusal},
    {"tripledes", 112, 168, 56, 24, kDes3Refusal},
    {"hmacmd5", 1, kAny, 1, 0, "Empty key"},
    {"hmacsha1", 1, kAny, 1, 0, "Empty key"},
    {"hmacsha224", 40, kAny, 1, 0, kHmacRefusal},
    {"hmacsha256", 40, kAny, 1, 0, kHmacRefusal},
    {"hmacsha384", 40, kAny, 1, 0, kHmacRefusal},
    {"hmacsha512", 40, kAny, 1, 0, kHmacRefusal},
    {"hmacsha3-224", 40, kAny, 1, 0, kHmacRefusal},
    {"hmacsha3-256", 40, kAny, 1, 0, kHmacRefusal},
    {"hmacsha3-384", 40, kAny, 1, 0, kHmacRefusal},
    {"hmacsha3-512", 40, kAny, 1, 0, kHmacRefusal},
};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  return out;
}

}  // namespace

Result<Secret> generate_material(std::string_view cipher, std::int32_t bits) {
  const std::string name = lower(cipher.substr(0, cipher.find('/')));
  const auto* g = std::find_if(std::begin(kGenerators), std::end(kGenerators),
                               [&](const Generator& each) { return each.name == name; });
  if (g == std::end(kGenerators)) return Error::without_message(ErrorKind::unknown_cipher);
  if (bits > kAny) return Error(ErrorKind::invalid_key_length, "The key is too long");
  if (bits < g->least || bits > g->most || (bits - g->least) % g->step != 0)
    return Error(ErrorKind::invalid_key_length, std::string(g->refusal));
  Secret material(static_cast<std::size_t>(g->fixed_bytes != 0 ? g->fixed_bytes : (bits + 7) / 8));
  KMS_TRY(fill_private({material.data(), material.size()}));
  return material;
}

Result<void> check_length(std::int32_t bits, const Secret& material) {
  const std::int64_t got = static_cast<std::int64_t>(material.size()) * 8;
  if (got != bits)
    return Error(ErrorKind::io, "Wrong key length. Required " + std::to_string(bits) +
                                    ", but got " + std::to_string(got));
  if (material.empty()) return Error(ErrorKind::invalid_argument, "Empty key");
  return {};
}

}  // namespace kms::jceks
