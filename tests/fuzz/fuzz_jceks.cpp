// SPDX-License-Identifier: Apache-2.0
// Keystore files: container, sealed objects, what is inside them, and the metadata JSON. What is
// read can be written, and is the same when read again. The input serves as each of these in turn;
// entries are opened up to a count of iterations that keeps this fast.
#include <cstdint>
#include <cstdlib>

#include "keystore/jceks/container.h"
#include "keystore/jceks/gson.h"
#include "keystore/jceks/key_codec.h"

namespace {

using namespace kms;
using namespace kms::jceks;

constexpr std::int32_t kCheap = 32;

void must_hold(bool condition) {
  if (!condition) std::abort();
}

void check_container(ByteView file) {
  auto parsed = parse_structure(file);
  if (!parsed.ok()) return;
  ContainerWriter writer(static_cast<std::uint32_t>(parsed->entries.size()), 0);
  int opened = 0;
  for (const RawEntry& raw : parsed->entries) {
    writer.add(raw.tag, raw.alias, raw.date_ms, raw.body);
    if (raw.tag == EntryTag::secret_key && ++opened < 8)
      (void)unseal_key(raw.body, as_bytes("none"), kCheap);
  }
  const auto bytes = writer.finish(as_bytes("none"));
  const auto again = parse_container(*bytes, as_bytes("none"));
  must_hold(again.ok() && again->entries.size() == parsed->entries.size());
  for (std::size_t i = 0; i < again->entries.size(); ++i) {
    const RawEntry &a = parsed->entries[i], &b = again->entries[i];
    must_hold(a.tag == b.tag && a.alias == b.alias && a.date_ms == b.date_ms && a.body == b.body);
  }
}

void check_metadata(const StoredMetadata& metadata) {
  const std::string json = write_metadata(metadata);
  const auto again = parse_metadata(as_bytes(json));
  must_hold(again.ok() && write_metadata(*again) == json);
}

void check_plaintext(ByteView plaintext) {
  const auto key = decode_key(plaintext);
  if (!key.ok()) return;
  if (const auto* metadata = std::get_if<StoredMetadata>(&*key)) {
    check_metadata(*metadata);
    must_hold(decode_key(encode_metadata(*metadata).view()).ok());
    return;
  }
  const auto& secret = std::get<SecretKey>(*key);
  const auto again = decode_key(encode_secret_key(secret.algorithm, secret.material.view()).view());
  must_hold(again.ok() && std::get<SecretKey>(*again).algorithm == secret.algorithm &&
            std::get<SecretKey>(*again).material.equals(secret.material.view()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  check_container(input);
  check_plaintext(input);
  (void)unseal_key(input, as_bytes("none"), kCheap);
  (void)parse_pbe_params(input);
  if (const auto metadata = parse_metadata(input); metadata.ok()) check_metadata(*metadata);
  return 0;
}
