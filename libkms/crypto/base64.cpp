// SPDX-License-Identifier: Apache-2.0
#include "crypto/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace kms {
namespace {

constexpr std::int8_t kSkip = -1;
constexpr std::int8_t kStop = -2;

constexpr std::array<std::int8_t, 256> make_sextets() {
  std::array<std::int8_t, 256> table{};
  for (auto& v : table) v = kSkip;
  for (int i = 0; i < 26; ++i) {
    table['A' + i] = static_cast<std::int8_t>(i);
    table['a' + i] = static_cast<std::int8_t>(26 + i);
  }
  for (int i = 0; i < 10; ++i) table['0' + i] = static_cast<std::int8_t>(52 + i);
  table['+'] = table['-'] = 62;
  table['/'] = table['_'] = 63;
  table['='] = kStop;
  return table;
}

constexpr auto kSextets = make_sextets();

// OpenSSL's decoder is strict where Hadoop's (commons-codec) skips, so the bits are gathered here.
// Returns the number of bytes written; out has room for text.size() * 3 / 4.
std::size_t decode(std::string_view text, std::uint8_t* out) {
  std::uint32_t bits = 0;
  int have = 0;
  std::size_t n = 0;
  for (char c : text) {
    const std::int8_t v = kSextets[static_cast<unsigned char>(c)];
    if (v == kStop) break;
    if (v == kSkip) continue;
    bits = (bits << 6) | static_cast<std::uint32_t>(v);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out[n++] = static_cast<std::uint8_t>(bits >> have);
      bits &= (1u << have) - 1;
    }
  }
  return n;
}

void make_url_safe(char* text, std::size_t length) {
  for (char* c = text; c != text + length; ++c) {
    if (*c == '+') *c = '-';
    if (*c == '/') *c = '_';
  }
}

std::size_t room_for(std::string_view text) {
  return text.size() / 4 * 3 + 3;
}

}  // namespace

std::string base64_encode(ByteView bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes.data(),
                                static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(n));
  return out;
}

std::string base64url_encode(ByteView bytes) {
  std::string out = base64_encode(bytes);
  out.resize(base64url_length(bytes.size()));
  make_url_safe(out.data(), out.size());
  return out;
}

void base64url_encode_to(ByteView bytes, char* out) {
  // OpenSSL also writes padding and a zero byte, so pieces go through a buffer of their own.
  constexpr std::size_t kPiece = 48;
  std::array<unsigned char, kPiece / 3 * 4 + 1> piece;
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), kPiece))) {
    const std::size_t taken = std::min(bytes.size(), kPiece);
    const std::size_t length = base64url_length(taken);
    EVP_EncodeBlock(piece.data(), bytes.data(), static_cast<int>(taken));
    std::memcpy(out, piece.data(), length);
    make_url_safe(out, length);
    out += length;
  }
}

Secret base64url_encode_secret(ByteView bytes) {
  Secret padded((bytes.size() + 2) / 3 * 4 + 1);
  EVP_EncodeBlock(padded.data(), bytes.data(), static_cast<int>(bytes.size()));
  const std::size_t length = base64url_length(bytes.size());
  make_url_safe(reinterpret_cast<char*>(padded.data()), length);
  return Secret(padded.view().first(length));
}

Bytes base64_decode_lenient(std::string_view text) {
  Bytes out(room_for(text));
  out.resize(decode(text, out.data()));
  return out;
}

Secret base64_decode_secret(std::string_view text) {
  Secret wide(room_for(text));
  const std::size_t n = decode(text, wide.data());
  return Secret(wide.view().first(n));
}

}  // namespace kms
