// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/container.h"

#include <algorithm>

#include "core/secret.h"
#include "keystore/jceks/modified_utf8.h"
#include "keystore/jceks/pbe.h"
#include "keystore/jceks/sealed_object.h"

namespace kms::jceks {
namespace {

constexpr std::uint32_t kJceks = 0xCECECECE, kJks = 0xFEEDFEED;
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kMostReserved = 65536;  // a count proves nothing
constexpr std::string_view kX509 = "X.509";

void put_u32(Bytes& out, std::uint32_t n) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(n >> shift));
}

void put_utf(Bytes& out, std::string_view text) {
  const std::size_t size = modified_utf8_size(text);
  out.push_back(static_cast<std::uint8_t>(size >> 8));
  out.push_back(static_cast<std::uint8_t>(size));
  append_modified_utf8(out, text);
}

// Reads big-endian fields; after the first failure everything else is empty.
class Cursor {
 public:
  explicit Cursor(ByteView in) : in_(in) {}

  ByteView take(std::uint64_t size) {
    if (!failed() && size > in_.size() - at_) fail("unexpected end of the file");
    if (failed()) return {};
    const ByteView out = in_.subspan(at_, static_cast<std::size_t>(size));
    at_ += out.size();
    return out;
  }
  std::uint64_t number(int bytes) {
    std::uint64_t n = 0;
    for (const std::uint8_t b : take(static_cast<std::uint64_t>(bytes))) n = n << 8 | b;
    return n;
  }
  std::string utf() {
    auto text = from_modified_utf8(take(number(2)));
    if (!text.has_value()) fail("an alias is malformed modified UTF-8");
    return text.value_or("");
  }
  void fail(std::string why) {
    if (error_.empty()) error_ = std::move(why);
  }
  bool failed() const { return !error_.empty(); }
  Error error() const {
    return Error(ErrorKind::corrupt, error_ + " (at byte " + std::to_string(at_) + ")");
  }
  ByteView rest() const { return in_.subspan(at_); }
  ByteView since(std::size_t begin) const { return in_.subspan(begin, at_ - begin); }
  std::size_t at() const { return at_; }

 private:
  ByteView in_;
  std::size_t at_ = 0;
  std::string error_;
};

// A certificate; version 1 has no type, which version 2 needs.
void certificate(Cursor& in, std::uint32_t version, Bytes& body) {
  if (version == 1) {
    put_utf(body, kX509);
  } else {
    const std::size_t begin = in.at();
    in.utf();
    const ByteView type = in.since(begin);
    body.insert(body.end(), type.begin(), type.end());
  }
  const auto size = static_cast<std::uint32_t>(in.number(4));
  const ByteView der = in.take(size);
  put_u32(body, size);
  body.insert(body.end(), der.begin(), der.end());
}

void private_key(Cursor& in, std::uint32_t version, Bytes& body) {
  const std::size_t begin = in.at();
  in.take(in.number(4));
  const auto certificates = static_cast<std::int32_t>(in.number(4));
  if (in.failed()) return;
  const ByteView key = in.since(begin);
  body.assign(key.begin(), key.end());
  for (std::int32_t i = 0; i < certificates && !in.failed(); ++i) certificate(in, version, body);
}

void secret_key(Cursor& in, Bytes& body) {
  auto sealed = parse_sealed_object(in.rest());
  if (!sealed.ok()) return in.fail(sealed.error().message);
  const ByteView stream = in.take(sealed->size);
  body.assign(stream.begin(), stream.end());
}

void entry(Cursor& in, std::uint32_t version, RawEntry& out) {
  const auto tag = static_cast<std::int32_t>(in.number(4));
  if (in.failed()) return;
  if (tag < 1 || tag > 3) return in.fail("Unrecognized keystore entry: " + std::to_string(tag));
  out.tag = static_cast<EntryTag>(tag);
  out.alias = in.utf();
  out.date_ms = static_cast<std::int64_t>(in.number(8));
  if (in.failed()) return;
  switch (out.tag) {
    case EntryTag::private_key:
      return private_key(in, version, out.body);
    case EntryTag::certificate:
      return certificate(in, version, out.body);
    case EntryTag::secret_key:
      return secret_key(in, out.body);
  }
}

}  // namespace

Result<Container> parse_structure(ByteView file) {
  Cursor in(file);
  const auto magic = static_cast<std::uint32_t>(in.number(4));
  const auto version = static_cast<std::uint32_t>(in.number(4));
  const auto count = static_cast<std::int32_t>(in.number(4));
  if (in.failed()) return in.error();
  if ((magic != kJceks && magic != kJks) || version < 1 || version > 2)
    return Error(ErrorKind::corrupt, "Invalid keystore format");
  Container out;
  if (count > 0) out.entries.reserve(std::min<std::size_t>(count, kMostReserved));
  for (std::int32_t i = 0; i < count && !in.failed(); ++i)
    entry(in, version, out.entries.emplace_back());
  out.body_size = in.at();
  in.take(std::tuple_size_v<StoreDigest>);
  if (in.failed()) return in.error();
  return out;
}

Result<Container> parse_container(ByteView file, ByteView password) {
  auto parsed = parse_structure(file);
  if (!parsed.ok()) return parsed;
  const auto digest = store_digest(password, file.first(parsed->body_size));
  if (!digest.ok()) return digest.error();
  if (!equal_constant_time(*digest, file.subspan(parsed->body_size, digest->size())))
    return Error(ErrorKind::wrong_password,
                 "Keystore was tampered with, or password was incorrect");
  return parsed;
}

namespace {

constexpr std::size_t kHeader = 12;  // magic, version, count

// The entry at a place of the file; 0 when there is none, else its size.
std::size_t entry_at(ByteView file, std::size_t at, std::uint32_t version, RawEntry& out) {
  Cursor in(file.subspan(at));
  entry(in, version, out);
  return in.failed() ? 0 : in.at();
}

}  // namespace

Wreck search_entries(ByteView file) {
  Wreck wreck;
  const bool old = file.size() > 7 && file[7] == 1;  // the version, as far as it can be believed
  const std::uint32_t version = old ? 1 : kVersion;
  std::size_t at = std::min(kHeader, file.size()), lost_from = at;
  const auto lose = [&](std::size_t end) {
    if (end > lost_from) wreck.lost.push_back({lost_from, end});
  };
  while (at < file.size()) {
    const bool lost = at > lost_from;
    RawEntry found;
    // Behind a gap only what can hardly be there by chance.
    const bool likely =
        !lost || (file.size() - at > 4 && file[at] == 0 && file[at + 1] == 0 && file[at + 2] == 0 &&
                  file[at + 3] == static_cast<std::uint8_t>(EntryTag::secret_key));
    const std::size_t size = likely ? entry_at(file, at, version, found) : 0;
    if (size == 0) {
      if (!lost && file.size() - at == std::tuple_size_v<StoreDigest>) return wreck;
      ++at;
      continue;
    }
    lose(at);
    wreck.entries.push_back(std::move(found));
    lost_from = at += size;
  }
  lose(file.size());
  return wreck;
}

ContainerWriter::ContainerWriter(std::uint32_t entries, std::size_t size_hint) {
  out_.reserve(size_hint);
  put_u32(out_, kJceks);
  put_u32(out_, kVersion);
  put_u32(out_, entries);
}

void ContainerWriter::add(EntryTag tag, std::string_view alias, std::int64_t date_ms,
                          ByteView body) {
  put_u32(out_, static_cast<std::uint32_t>(tag));
  put_utf(out_, alias);
  put_u32(out_, static_cast<std::uint32_t>(static_cast<std::uint64_t>(date_ms) >> 32));
  put_u32(out_, static_cast<std::uint32_t>(date_ms));
  out_.insert(out_.end(), body.begin(), body.end());
}

Result<Bytes> ContainerWriter::finish(ByteView password) {
  const auto digest = store_digest(password, out_);
  if (!digest.ok()) return digest.error();
  out_.insert(out_.end(), digest->begin(), digest->end());
  return std::move(out_);
}

}  // namespace kms::jceks
