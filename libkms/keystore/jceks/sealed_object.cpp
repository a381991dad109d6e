// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/sealed_object.h"

#include "keystore/jceks/java_stream.h"
#include "keystore/jceks/java_writer.h"

namespace kms::jceks {
namespace {

constexpr std::string_view kProtector = "com.sun.crypto.provider.SealedObjectForKeyProtector";
constexpr std::string_view kSealedObject = "javax.crypto.SealedObject";
constexpr std::string_view kAlgorithm = "PBEWithMD5AndTripleDES";
constexpr std::uint64_t kProtectorSuid = 0xCD57CA59E730BB53, kSealedSuid = 0x3E363DA6C3B75470;

// What JceKeyStore's own filter lets pass; no setting of a JVM widens it.
constexpr KnownClass kClasses[] = {
    {kProtector, kProtectorSuid, KnownClass::Role::object},
    {kSealedObject, kSealedSuid, KnownClass::Role::super},
    {"[B", 0, KnownClass::Role::array},
};
constexpr StreamPolicy kPolicy{kClasses, kProtector};

// A field that must be a byte[] or null.
Result<std::optional<ByteView>> bytes_of(const JavaValue& object, std::string_view name) {
  const JavaValue* value = JavaReader::field(object, kSealedObject, name);
  if (value->kind == JavaValue::Kind::bytes) return std::optional(value->raw);
  if (value->kind == JavaValue::Kind::null) return std::optional<ByteView>();
  return Error(ErrorKind::corrupt, "Invalid secret key format");
}

}  // namespace

Result<SealedObject> parse_sealed_object(ByteView in) {
  JavaReader reader(in, kPolicy);
  auto value = reader.read();
  if (!value.ok())
    return Error(ErrorKind::corrupt, "Invalid secret key format: " + value.error().message);
  SealedObject sealed;
  sealed.size = reader.position();
  // Java loads a null in place of the object; only its key is lost.
  if ((*value)->kind == JavaValue::Kind::null) return sealed;
  if ((*value)->kind != JavaValue::Kind::object)
    return Error(ErrorKind::corrupt, "Invalid secret key format: no sealed object");
  auto params = bytes_of(**value, "encodedParams");
  if (!params.ok()) return std::move(params).error();
  auto ciphertext = bytes_of(**value, "encryptedContent");
  if (!ciphertext.ok()) return std::move(ciphertext).error();
  sealed.params = *params;
  sealed.ciphertext = *ciphertext;
  return sealed;
}

Bytes encode_sealed_object(ByteView params, ByteView ciphertext) {
  JavaWriter out;
  out.object();
  out.begin_class(kProtector, kProtectorSuid, 0x02, 0);  // handle 0
  out.end_mark();
  out.begin_class(kSealedObject, kSealedSuid, 0x02, 4);  // handle 1
  out.field('[', "encodedParams", "[B");                 // handle 2
  out.field('[', "encryptedContent", 2);
  out.field('L', "paramsAlg", "Ljava/lang/String;");  // handle 3
  out.field('L', "sealAlg", 3);
  out.end_mark();
  out.no_super();
  out.byte_array(params.size());  // the object is handle 4, this class 5
  out.bytes(params);
  out.byte_array(ciphertext.size(), 5);
  out.bytes(ciphertext);
  out.string(kAlgorithm);
  out.string(kAlgorithm);
  return out.take();
}

}  // namespace kms::jceks
