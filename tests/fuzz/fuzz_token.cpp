// SPDX-License-Identifier: Apache-2.0
// Delegation tokens as clients send them: what can be read is written and read again as the same,
// and what is said of it fits into an answer.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "auth/tokens/identifier.h"
#include "auth/tokens/writable.h"
#include "core/utf8.h"
#include "crypto/base64.h"

namespace {

using namespace kms;

void require(bool condition) {
  if (!condition) std::abort();
}

void require_java_words(const Error& error) {
  require(error.kind == ErrorKind::authentication && error.message.starts_with("java.") &&
          error.message.size() < 200);
}

void identifier(ByteView bytes) {
  const auto id = TokenIdentifier::decode(bytes);
  if (!id.ok()) return require_java_words(id.error());
  const Bytes written = id->encode();
  const auto again = TokenIdentifier::decode(written);
  require(again.ok() && *again == *id && again->encode() == written);
  const std::string text = id->text();
  for (ByteView rest = as_bytes(text); !rest.empty();) {
    const Utf8Step step = utf8_step(rest);
    require(step.well_formed);
    rest = rest.subspan(step.length);
  }
}

void wire(std::string_view text) {
  const auto token = WireToken::decode(text);
  if (!token.ok()) return require_java_words(token.error());
  const Secret written = token->encode();
  const auto again = WireToken::decode(as_text(written.view()));
  require(again.ok() && again->identifier == token->identifier &&
          again->password.equals(token->password.view()) && again->kind == token->kind &&
          again->service == token->service);
  identifier(token->identifier);
  const auto password = token_password(as_bytes("a master key"), token->identifier);
  require(password.ok() && password->size() == 20);
}

void numbers(ByteView bytes) {
  WritableReader reader(bytes);
  while (!reader.rest().empty()) {
    const auto value = reader.vlong();
    if (!value.ok()) return;
    Bytes written(vlong_size(*value));
    WritableWriter writer(written.data());
    writer.vlong(*value);
    require(writer.end() == written.data() + written.size() && written.size() <= 9);
    WritableReader again(written);
    const auto same = again.vlong();
    require(same.ok() && *same == *value && again.rest().empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  wire(as_text(bytes));
  wire(base64url_encode(bytes));
  identifier(bytes);
  numbers(bytes);
  return 0;
}
