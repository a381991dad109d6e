// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/key_codec.h"

#include <cstring>

#include "keystore/jceks/java_stream.h"
#include "keystore/jceks/java_writer.h"
#include "keystore/jceks/modified_utf8.h"
#include "keystore/jceks/sealed_object.h"

namespace kms::jceks {
namespace {

constexpr std::string_view kSecretKeySpec = "javax.crypto.spec.SecretKeySpec";
constexpr std::string_view kKeyMetadata =
    "org.apache.hadoop.crypto.key.JavaKeyStoreProvider$KeyMetadata";
constexpr std::string_view kKeyRep = "java.security.KeyRep";
constexpr std::uint64_t kSecretKeySpecSuid = 0x5B470B66E230614D;
constexpr std::uint64_t kKeyMetadataSuid = 0x74A7A86E03703593;
constexpr std::uint64_t kKeyRepSuid = 0xBDF94FB3889AA543;

// The classes that Hadoop's jceks.key.serialFilter lets pass.
constexpr KnownClass kClasses[] = {
    {kSecretKeySpec, kSecretKeySpecSuid, KnownClass::Role::object},
    {kKeyMetadata, kKeyMetadataSuid, KnownClass::Role::object, true},
    {kKeyRep, kKeyRepSuid, KnownClass::Role::object},
    {"java.security.KeyRep$Type", 0, KnownClass::Role::enumeration},
    {"java.lang.Enum", 0, KnownClass::Role::super},
    {"[B", 0, KnownClass::Role::array},
};
constexpr StreamPolicy kPolicy{kClasses, {}};

Error corrupt(const char* why) {
  return Error(ErrorKind::corrupt, why);
}

bool is_string(const JavaValue* value) {
  return value->kind == JavaValue::Kind::string;
}

Result<SealedKey> secret_key(const JavaValue* algorithm, const JavaValue* key) {
  if (!is_string(algorithm) || key->kind != JavaValue::Kind::bytes)
    return corrupt("Missing argument");
  if (key->raw.empty()) return corrupt("Empty key");
  return SealedKey(SecretKey{from_modified_utf8(algorithm->raw).value_or(""), Secret(key->raw)});
}

Result<SealedKey> key_rep(const JavaValue& object) {
  auto field = [&](std::string_view name) { return JavaReader::field(object, kKeyRep, name); };
  const JavaValue *type = field("type"), *format = field("format");
  if (type->kind != JavaValue::Kind::enumeration || as_text(type->raw) != "SECRET" ||
      !is_string(format) || as_text(format->raw) != "RAW")
    return corrupt("unrecognized type/format combination of a java.security.KeyRep");
  return secret_key(field("algorithm"), field("encoded"));
}

// KeyMetadata.readObject: a length and as many bytes of JSON, in blocks of any size.
Result<SealedKey> metadata(const JavaValue& object) {
  Bytes data;
  for (const JavaSlot& slot : object.slots)
    if (slot.type->known->name == kKeyMetadata)
      for (const ByteView block : slot.blocks) data.insert(data.end(), block.begin(), block.end());
  if (data.size() < 4) return corrupt("unexpected end of the data");
  std::uint32_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = size << 8 | data[i];
  if (size > data.size() - 4) return corrupt("unexpected end of the data");
  auto parsed = parse_metadata(ByteView(data).subspan(4, size));
  if (!parsed.ok()) return std::move(parsed).error();
  return SealedKey(std::move(*parsed));
}

}  // namespace

Result<SealedKey> decode_key(ByteView plaintext) {
  JavaReader reader(plaintext, kPolicy);
  auto value = reader.read();
  if (!value.ok()) return std::move(value).error();
  const JavaValue& object = **value;
  if (object.kind != JavaValue::Kind::object) return corrupt("the sealed object is no key");
  const std::string_view name = object.type->known->name;
  if (name == kKeyMetadata) return metadata(object);
  if (name == kKeyRep) return key_rep(object);
  return secret_key(JavaReader::field(object, kSecretKeySpec, "algorithm"),
                    JavaReader::field(object, kSecretKeySpec, "key"));
}

Secret encode_secret_key(std::string_view algorithm, ByteView material) {
  JavaWriter out;
  out.object();
  out.begin_class(kSecretKeySpec, kSecretKeySpecSuid, 0x02, 2);
  out.field('L', "algorithm", "Ljava/lang/String;");
  out.field('[', "key", "[B");
  out.end_mark();
  out.no_super();
  out.string(algorithm);
  out.byte_array(material.size());
  const Bytes head = out.take();
  Secret plaintext(head.size() + material.size());
  std::memcpy(plaintext.data(), head.data(), head.size());
  if (!material.empty())
    std::memcpy(plaintext.data() + head.size(), material.data(), material.size());
  return plaintext;
}

Secret encode_metadata(const StoredMetadata& metadata) {
  const std::string json = write_metadata(metadata);
  Bytes data;
  for (int shift = 24; shift >= 0; shift -= 8)
    data.push_back(static_cast<std::uint8_t>(json.size() >> shift));
  data.insert(data.end(), json.begin(), json.end());
  JavaWriter out;
  out.object();
  // Flag 01: what writeObject wrote follows, and not the declared field.
  out.begin_class(kKeyMetadata, kKeyMetadataSuid, 0x03, 1);
  out.field('L', "metadata", "Lorg/apache/hadoop/crypto/key/KeyProvider$Metadata;");
  out.end_mark();
  out.no_super();
  out.blocks(data);
  out.end_mark();
  return Secret(out.take());
}

Result<SealedKey> unseal_key(ByteView body, ByteView password, std::int32_t max_iterations) {
  auto sealed = parse_sealed_object(body);
  if (!sealed.ok()) return std::move(sealed).error();
  if (!sealed->params.has_value()) return corrupt("Cannot get algorithm parameters");
  if (!sealed->ciphertext.has_value()) return corrupt("the entry holds no ciphertext");
  auto params = parse_pbe_params(*sealed->params);
  if (!params.ok()) return std::move(params).error();
  auto plaintext = pbe_decrypt(*params, password, *sealed->ciphertext, max_iterations);
  if (!plaintext.ok()) return std::move(plaintext).error();
  return decode_key(plaintext->view());
}

Result<Bytes> seal_key(ByteView plaintext, ByteView password, std::int32_t iterations) {
  auto params = new_pbe_params(iterations);
  if (!params.ok()) return std::move(params).error();
  auto ciphertext = pbe_encrypt(*params, password, plaintext);
  if (!ciphertext.ok()) return std::move(ciphertext).error();
  return encode_sealed_object(encode_pbe_params(*params), *ciphertext);
}

}  // namespace kms::jceks
