// SPDX-License-Identifier: Apache-2.0
#include "auth/tokens/identifier.h"

#include "auth/tokens/writable.h"
#include "crypto/base64.h"
#include "crypto/hmac.h"

namespace kms {
namespace {

constexpr std::uint8_t kVersion = 0;

template <class T, class Value>
Result<void> take(Result<Value> read, T& to) {
  if (!read.ok()) return std::move(read).error();
  to = std::move(read).value();
  return {};
}

}  // namespace

Bytes TokenIdentifier::encode() const {
  Bytes out(1 + byte_array_size(owner.size()) + byte_array_size(renewer.size()) +
            byte_array_size(real_user.size()) + vlong_size(issue_ms) + vlong_size(max_ms) +
            vlong_size(sequence) + vlong_size(master_key_id));
  WritableWriter writer(out.data());
  writer.byte(kVersion);
  writer.text(owner);
  writer.text(renewer);
  writer.text(real_user);
  writer.vlong(issue_ms);
  writer.vlong(max_ms);
  writer.vlong(sequence);
  writer.vlong(master_key_id);
  return out;
}

Result<TokenIdentifier> TokenIdentifier::decode(ByteView bytes) {
  WritableReader reader(bytes);
  const auto version = reader.byte();
  if (!version.ok()) return version.error();
  if (*version != kVersion)
    return Error(ErrorKind::authentication,
                 "java.io.IOException: Unknown version of delegation token " +
                     std::to_string(static_cast<std::int8_t>(*version)));
  TokenIdentifier out;
  KMS_TRY(take(reader.text(kMaxText), out.owner));
  KMS_TRY(take(reader.text(kMaxText), out.renewer));
  KMS_TRY(take(reader.text(kMaxText), out.real_user));
  KMS_TRY(take(reader.vlong(), out.issue_ms));
  KMS_TRY(take(reader.vlong(), out.max_ms));
  KMS_TRY(take(reader.vint(), out.sequence));
  KMS_TRY(take(reader.vint(), out.master_key_id));
  return out;
}

std::string TokenIdentifier::text() const {
  std::string out(kTokenKind);
  out += " owner=" + printed(owner) + ", renewer=" + printed(renewer) +
         ", realUser=" + printed(real_user);
  out += ", issueDate=" + std::to_string(issue_ms) + ", maxDate=" + std::to_string(max_ms) +
         ", sequenceNumber=" + std::to_string(sequence) +
         ", masterKeyId=" + std::to_string(master_key_id);
  return out;
}

Secret WireToken::encode() const {
  Secret raw(byte_array_size(identifier.size()) + byte_array_size(password.size()) +
             byte_array_size(kind.size()) + byte_array_size(service.size()));
  WritableWriter writer(raw.data());
  writer.byte_array(identifier);
  writer.byte_array(password.view());
  writer.text(kind);
  writer.text(service);
  return base64url_encode_secret(raw.view());
}

Result<WireToken> WireToken::decode(std::string_view url_string) {
  const Secret raw = base64_decode_secret(url_string);
  WritableReader reader(raw.view());
  WireToken out;
  const auto identifier = reader.byte_array();
  if (!identifier.ok()) return identifier.error();
  const auto password = reader.byte_array();
  if (!password.ok()) return password.error();
  KMS_TRY(take(reader.text(), out.kind));
  KMS_TRY(take(reader.text(), out.service));
  out.identifier.assign(identifier->begin(), identifier->end());
  out.password = Secret(*password);
  return out;
}

Result<Secret> token_password(ByteView master_key, ByteView identifier) {
  const auto mac = hmac_sha1(master_key, identifier);
  if (!mac.ok()) return mac.error();
  return Secret(ByteView(*mac));
}

}  // namespace kms
