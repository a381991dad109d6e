// SPDX-License-Identifier: Apache-2.0
#include "zookeeper/codec.h"

#include <utility>

#include "auth/tokens/identifier.h"
#include "auth/tokens/writable.h"

namespace kms::zookeeper {
namespace {

constexpr std::int32_t kSignerVersion = 0;
constexpr std::size_t kMaxSecret = 64 * 1024;

Error corrupt(const char* what) {
  return Error(ErrorKind::corrupt, what);
}

// Java's DataOutput and ByteBuffer: big-endian.
class Writer {
 public:
  explicit Writer(std::uint8_t* to) : to_(to) {}
  template <class T>
  void number(T value) {
    const auto bits = static_cast<std::uint64_t>(value);
    for (int i = static_cast<int>(sizeof(T)) - 1; i >= 0; --i)
      *to_++ = static_cast<std::uint8_t>(bits >> (8 * i));
  }
  void raw(ByteView bytes) {
    for (const std::uint8_t b : bytes) *to_++ = b;
  }
  void sized(ByteView bytes) {
    number(static_cast<std::int32_t>(bytes.size()));
    raw(bytes);
  }

 private:
  std::uint8_t* to_;
};

class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}
  template <class T>
  bool number(T& out) {
    if (rest_.size() < sizeof(T)) return false;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) bits = bits << 8 | rest_[i];
    rest_ = rest_.subspan(sizeof(T));
    out = static_cast<T>(bits);
    return true;
  }
  bool sized(Secret& out) {
    std::int32_t size = 0;
    if (!number(size) || size < 0 || static_cast<std::size_t>(size) > kMaxSecret) return false;
    if (static_cast<std::size_t>(size) > rest_.size()) return false;
    out = Secret(rest_.first(static_cast<std::size_t>(size)));
    rest_ = rest_.subspan(static_cast<std::size_t>(size));
    return true;
  }

 private:
  ByteView rest_;
};

// How long the identifier at the front of bytes is.
Result<std::size_t> identifier_size(ByteView bytes) {
  WritableReader reader(bytes);
  KMS_TRY(reader.byte());
  for (int i = 0; i < 3; ++i) KMS_TRY(reader.text(kMaxText));
  for (int i = 0; i < 2; ++i) KMS_TRY(reader.vlong());
  for (int i = 0; i < 2; ++i) KMS_TRY(reader.vint());
  return bytes.size() - reader.rest().size();
}

}  // namespace

Secret encode_signer(const SignerSecretsData& secrets) {
  Secret out(4 * sizeof(std::int32_t) + secrets.next.size() + secrets.current.size() +
             secrets.previous.size() + sizeof(std::int64_t));
  Writer writer(out.data());
  writer.number(kSignerVersion);
  writer.sized(secrets.next.view());
  writer.sized(secrets.current.view());
  writer.sized(secrets.previous.view());
  writer.number(secrets.rollover_ms);
  return out;
}

Result<SignerSecretsData> decode_signer(ByteView bytes) {
  Reader reader(bytes);
  SignerSecretsData out;
  std::int32_t version = 0;
  if (!reader.number(version)) return corrupt("it is too short for cookie secrets");
  if (version > kSignerVersion) return corrupt("it was written by a newer version of Hadoop");
  if (!reader.sized(out.next) || !reader.sized(out.current) || !reader.sized(out.previous) ||
      !reader.number(out.rollover_ms) || out.next.empty() || out.current.empty())
    return corrupt("it does not hold cookie secrets");
  return out;
}

Secret encode_master_key(const MasterKey& key) {
  Secret out(vlong_size(key.id) + vlong_size(key.expires_ms) + byte_array_size(key.secret.size()));
  WritableWriter writer(out.data());
  writer.vlong(key.id);
  writer.vlong(key.expires_ms);
  writer.byte_array(key.secret.view());
  return out;
}

Result<MasterKey> decode_master_key(ByteView bytes) {
  WritableReader reader(bytes);
  const auto id = reader.vint();
  if (!id.ok()) return corrupt("it does not hold a master key");
  const auto expires = reader.vlong();
  if (!expires.ok()) return corrupt("it does not hold a master key");
  const auto secret = reader.byte_array();
  if (!secret.ok() || secret->empty() || secret->size() > kMaxSecret)
    return corrupt("it does not hold a master key");
  MasterKey key;
  key.id = *id;
  key.expires_ms = *expires;
  key.secret = Secret(*secret);
  return key;
}

Secret encode_token(const TokenRecord& token) {
  const Bytes identifier = token.identifier.encode();
  Secret out(identifier.size() + sizeof(std::int64_t) + sizeof(std::int32_t) +
             token.password.size());
  Writer writer(out.data());
  writer.raw(identifier);
  writer.number(token.renew_ms);
  writer.sized(token.password.view());
  return out;
}

Result<TokenRecord> decode_token(ByteView bytes) {
  const auto size = identifier_size(bytes);
  if (!size.ok()) return corrupt("it does not hold a token");
  auto identifier = TokenIdentifier::decode(bytes.first(*size));
  if (!identifier.ok()) return corrupt("it does not hold a token");
  TokenRecord out;
  out.identifier = std::move(identifier).value();
  Reader reader(bytes.subspan(*size));
  if (!reader.number(out.renew_ms) || !reader.sized(out.password) || out.password.empty())
    return corrupt("it does not hold a token's date and password");
  return out;
}

Secret encode_count(std::int32_t count) {
  Secret out(sizeof count);
  Writer(out.data()).number(count);
  return out;
}

Result<std::int32_t> decode_count(ByteView bytes) {
  std::int32_t count = 0;
  if (!Reader(bytes).number(count)) return corrupt("it does not hold a number");
  return count;
}

}  // namespace kms::zookeeper
