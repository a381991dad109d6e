// SPDX-License-Identifier: Apache-2.0
#include "auth/tokens/journal.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <new>

#include "auth/tokens/writable.h"

namespace kms::tokens {
namespace {

constexpr std::string_view kMagic = "KMSTOKN1", kMarker = "KTRC";
constexpr std::size_t kChecksumSize = 16;
constexpr std::size_t kPrefixSize = 8;  // marker and size of the payload
constexpr std::size_t kFrameSize = kPrefixSize + kChecksumSize;

using Checksum = std::array<std::uint8_t, kChecksumSize>;

Checksum checksum(ByteView bytes) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  // Fetched once, which takes a lock in libcrypto. All this fails for want of memory only.
  struct Free {
    void operator()(EVP_MD* md) const { EVP_MD_free(md); }
  };
  static const std::unique_ptr<EVP_MD, Free> sha256(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  if (sha256 == nullptr ||
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, sha256.get(), nullptr) != 1)
    throw std::bad_alloc();
  Checksum out;
  std::copy_n(digest.begin(), out.size(), out.begin());
  return out;
}

template <class T>
void put(std::uint8_t* to, T value) {
  for (std::size_t i = sizeof value; i-- > 0; value >>= 8) to[i] = static_cast<std::uint8_t>(value);
}

template <class T>
T get(ByteView bytes) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) value = static_cast<T>(value << 8 | bytes[i]);
  return value;
}

bool checksum_fits(ByteView bytes) {
  const ByteView body = bytes.first(bytes.size() - kChecksumSize);
  const Checksum wanted = checksum(body);
  return std::equal(wanted.begin(), wanted.end(), bytes.last(kChecksumSize).begin());
}

// Each kind of record: its number, the size of its fields, and how they are written and read. The
// readers leave what is wrong to the one who asks whether everything was taken.
template <class T>
struct Fields;

template <>
struct Fields<TokenAdded> {
  static constexpr std::uint8_t kType = 1;
  static std::size_t size(const TokenRecord& token) {
    return vlong_size(token.renew_ms) + byte_array_size(token.identifier.encode().size()) +
           byte_array_size(token.password.size());
  }
  static std::size_t size(const TokenAdded& r) { return size(r.token); }
  static void write(WritableWriter& to, const TokenAdded& r) {
    to.vlong(r.token.renew_ms);
    to.byte_array(r.token.identifier.encode());
    to.byte_array(r.token.password.view());
  }
};
template <>
struct Fields<TokenRenewed> {
  static constexpr std::uint8_t kType = 2;
  static std::size_t size(const TokenRenewed& r) {
    return vlong_size(r.renew_ms) + byte_array_size(r.identifier.encode().size());
  }
  static void write(WritableWriter& to, const TokenRenewed& r) {
    to.vlong(r.renew_ms);
    to.byte_array(r.identifier.encode());
  }
};
template <>
struct Fields<TokenRemoved> {
  static constexpr std::uint8_t kType = 3;
  static std::size_t size(const TokenRemoved& r) {
    return byte_array_size(r.identifier.encode().size());
  }
  static void write(WritableWriter& to, const TokenRemoved& r) {
    to.byte_array(r.identifier.encode());
  }
};
template <>
struct Fields<TokensPurged> {
  static constexpr std::uint8_t kType = 4;
  static std::size_t size(const TokensPurged& r) { return vlong_size(r.before_ms); }
  static void write(WritableWriter& to, const TokensPurged& r) { to.vlong(r.before_ms); }
};
template <>
struct Fields<KeyAdded> {
  static constexpr std::uint8_t kType = 5;
  static std::size_t size(const MasterKey& key) {
    return vlong_size(key.id) + vlong_size(key.expires_ms) + byte_array_size(key.secret.size());
  }
  static std::size_t size(const KeyAdded& r) { return size(r.key); }
  static void write(WritableWriter& to, const KeyAdded& r) {
    to.vlong(r.key.id);
    to.vlong(r.key.expires_ms);
    to.byte_array(r.key.secret.view());
  }
};
template <>
struct Fields<KeysDropped> {
  static constexpr std::uint8_t kType = 6;
  static std::size_t size(const KeysDropped& r) { return vlong_size(r.now_ms); }
  static void write(WritableWriter& to, const KeysDropped& r) { to.vlong(r.now_ms); }
};
template <>
struct Fields<SequenceReached> {
  static constexpr std::uint8_t kType = 7;
  static std::size_t size(const SequenceReached& r) { return vlong_size(r.sequence); }
  static void write(WritableWriter& to, const SequenceReached& r) { to.vlong(r.sequence); }
};

// Reads the fields of a record; good says whether all were as they should be.
class FieldReader {
 public:
  explicit FieldReader(ByteView payload) : reader_(payload) {}

  bool good() const noexcept { return good_ && reader_.rest().empty(); }
  std::uint8_t type() { return take(reader_.byte()); }
  std::int64_t vlong() { return take(reader_.vlong()); }
  std::int32_t vint() { return take(reader_.vint()); }
  Secret secret() {
    const auto bytes = reader_.byte_array();
    return (good_ = good_ && bytes.ok()) ? Secret(*bytes) : Secret();
  }
  TokenIdentifier identifier() {
    const auto bytes = reader_.byte_array();
    if (!(good_ = good_ && bytes.ok())) return {};
    auto decoded = TokenIdentifier::decode(*bytes);
    // What was written is in the one form that encode() has, and look-ups rely on it.
    good_ = decoded.ok() && std::ranges::equal(decoded->encode(), *bytes);
    return good_ ? std::move(*decoded) : TokenIdentifier();
  }

 private:
  template <class T>
  T take(const Result<T>& value) {
    return (good_ = good_ && value.ok()) ? *value : T();
  }
  WritableReader reader_;
  bool good_ = true;
};

bool parse_payload(ByteView payload, Record& record) {
  FieldReader in(payload);
  switch (in.type()) {
    case Fields<TokenAdded>::kType: {
      TokenAdded added;
      added.token.renew_ms = in.vlong();
      added.token.identifier = in.identifier();
      added.token.password = in.secret();
      record = std::move(added);
      break;
    }
    case Fields<TokenRenewed>::kType: {
      TokenRenewed renewed;
      renewed.renew_ms = in.vlong();
      renewed.identifier = in.identifier();
      record = std::move(renewed);
      break;
    }
    case Fields<TokenRemoved>::kType:
      record = TokenRemoved{in.identifier()};
      break;
    case Fields<TokensPurged>::kType:
      record = TokensPurged{in.vlong()};
      break;
    case Fields<KeyAdded>::kType: {
      KeyAdded added;
      added.key.id = in.vint();
      added.key.expires_ms = in.vlong();
      added.key.secret = in.secret();
      record = std::move(added);
      break;
    }
    case Fields<KeysDropped>::kType:
      record = KeysDropped{in.vlong()};
      break;
    case Fields<SequenceReached>::kType:
      record = SequenceReached{in.vint()};
      break;
    default:
      return false;
  }
  return in.good();
}

}  // namespace

std::array<std::uint8_t, kHeaderSize> encode_header(const JournalHeader& header) {
  std::array<std::uint8_t, kHeaderSize> out{};
  std::uint8_t* to = std::copy(kMagic.begin(), kMagic.end(), out.data());
  for (const std::uint64_t value : {header.id, header.epoch, header.previous_id,
                                    header.previous_length, header.snapshot_length}) {
    put(to, value);
    to += sizeof value;
  }
  const Checksum sum = checksum(ByteView(out).first(kHeaderSize - kChecksumSize));
  std::copy(sum.begin(), sum.end(), to);
  return out;
}

bool has_magic(ByteView bytes) {
  const std::size_t size = std::min(bytes.size(), kMagic.size());
  return as_text(bytes.first(size)) == kMagic.substr(0, size);
}

bool parse_header(ByteView bytes, JournalHeader& header) {
  if (bytes.size() < kHeaderSize || !has_magic(bytes) || !checksum_fits(bytes.first(kHeaderSize)))
    return false;
  bytes = bytes.subspan(kMagic.size());
  for (std::uint64_t* value : {&header.id, &header.epoch, &header.previous_id,
                               &header.previous_length, &header.snapshot_length}) {
    *value = get<std::uint64_t>(bytes);
    bytes = bytes.subspan(sizeof *value);
  }
  return header.snapshot_length >= kHeaderSize;
}

Secret encode_record(const Record& record) {
  return std::visit(
      [](const auto& r) {
        using F = Fields<std::decay_t<decltype(r)>>;
        const std::size_t payload = 1 + F::size(r);
        Secret out(kFrameSize + payload);
        std::copy(kMarker.begin(), kMarker.end(), out.data());
        put(out.data() + kMarker.size(), static_cast<std::uint32_t>(payload));
        WritableWriter writer(out.data() + kPrefixSize);
        writer.byte(F::kType);
        F::write(writer, r);
        writer.raw(checksum(out.view().first(kPrefixSize + payload)));
        return out;
      },
      record);
}

std::size_t record_size(const TokenRecord& token) {
  return kFrameSize + 1 + Fields<TokenAdded>::size(token);
}

std::size_t record_size(const MasterKey& key) {
  return kFrameSize + 1 + Fields<KeyAdded>::size(key);
}

Frame parse_record(ByteView bytes) {
  Frame out;
  const std::size_t marker = std::min(bytes.size(), kMarker.size());
  if (as_text(bytes.first(marker)) != kMarker.substr(0, marker)) return out;
  if (bytes.size() < kPrefixSize) {
    out.state = FrameState::incomplete;
    return out;
  }
  const std::size_t payload = get<std::uint32_t>(bytes.subspan(kMarker.size()));
  if (payload == 0 || payload > kMaxPayload) return out;
  const std::size_t size = kFrameSize + payload;
  if (bytes.size() < size) {
    out.state = FrameState::incomplete;
    return out;
  }
  if (!checksum_fits(bytes.first(size)) ||
      !parse_payload(bytes.subspan(kPrefixSize, payload), out.record))
    return out;
  out.state = FrameState::whole;
  out.size = size;
  return out;
}

std::size_t find_record(ByteView bytes) {
  for (std::size_t at = 0;; ++at) {
    at = as_text(bytes).find(kMarker, at);
    if (at == std::string_view::npos) return bytes.size();
    if (parse_record(bytes.subspan(at)).state == FrameState::whole) return at;
  }
}

}  // namespace kms::tokens
