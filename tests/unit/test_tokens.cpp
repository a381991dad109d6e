// SPDX-License-Identifier: Apache-2.0
// The wire format of delegation tokens, against what the real Hadoop classes wrote.
#include <algorithm>
#include <limits>

#include "auth/name_rules.h"
#include "auth/tokens/identifier.h"
#include "auth/tokens/writable.h"
#include "crypto/base64.h"
#include "vectors.h"

using namespace kms;
using unit::assert_text;
using unit::from_hex;
using unit::text_of;
using unit::to_hex;

namespace {

constexpr std::string_view kEof = "java.io.EOFException";

template <class T>
void assert_refused(const Result<T>& result, std::string_view text) {
  assert_false(result.ok());
  assert_true(result.error().kind == ErrorKind::authentication);
  assert_text(result.error().message, text);
}

std::int64_t number_of(const json_t* object, const char* name) {
  const json_t* number = json_object_get(object, name);
  assert_true(json_is_integer(number));
  return json_integer_value(number);
}

Bytes vlong(std::int64_t value) {
  Bytes out(vlong_size(value));
  WritableWriter writer(out.data());
  writer.vlong(value);
  assert_ptr_equal(writer.end(), out.data() + out.size());
  return out;
}

Bytes utf8(std::string_view text) {
  const ByteView bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

std::string text_of_secret(const Secret& secret) {
  return std::string(as_text(secret.view()));
}

void numbers_of_java(void**) {
  const auto vectors = unit::load_json("auth-vectors.json");
  const json_t* list = unit::section(vectors, "vlong", 13);
  std::size_t i;
  json_t* each;
  json_array_foreach(list, i, each) {
    const std::int64_t value = number_of(each, "value");
    const Bytes bytes = vlong(value);
    assert_text(to_hex(bytes), text_of(each, "hex"));
    WritableReader reader(bytes);
    assert_int_equal(*reader.vlong(), value);
    assert_true(reader.rest().empty());
  }
}

void numbers_of_all_sizes(void**) {
  for (int bit = 0; bit < 64; ++bit) {
    for (const std::int64_t off : {-113, -1, 0, 1, 113}) {
      const auto value =
          static_cast<std::int64_t>((std::uint64_t{1} << bit) + static_cast<std::uint64_t>(off));
      const Bytes bytes = vlong(value);
      WritableReader reader(bytes);
      assert_int_equal(*reader.vlong(), value);
      for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        WritableReader shorter(ByteView(bytes).first(cut));
        assert_refused(shorter.vlong(), kEof);
      }
      const bool fits = value >= std::numeric_limits<std::int32_t>::min() &&
                        value <= std::numeric_limits<std::int32_t>::max();
      WritableReader as_int(bytes);
      const auto number = as_int.vint();
      assert_int_equal(number.ok(), fits);
      if (!fits) assert_refused(number, "java.io.IOException: value too long to fit in integer");
    }
  }
  // Longer than need be, as Java takes it.
  const Bytes long_one = from_hex("8c00000001"), long_minus_two = from_hex("8600010000");
  WritableReader reader(long_one);
  assert_int_equal(*reader.vint(), 1);
  WritableReader negative(long_minus_two);
  assert_int_equal(*negative.vlong(), ~std::int64_t{1});
}

void tokens_of_the_real_server(void**) {
  const auto vectors = unit::load_json("auth-vectors.json");
  const json_t* list = unit::section(vectors, "tokens_real", 6);
  std::size_t i;
  json_t* each;
  json_array_foreach(list, i, each) {
    const std::string url_string = text_of(each, "urlString");
    const auto wire = WireToken::decode(url_string);
    assert_true(wire.ok());
    assert_text(to_hex(base64_decode_lenient(url_string)), text_of(each, "rawHex"));
    assert_text(to_hex(wire->identifier), text_of(each, "identifierHex"));
    assert_text(base64_encode(wire->identifier), text_of(each, "identifierBase64"));
    assert_text(to_hex(wire->password.view()), text_of(each, "passwordHex"));
    assert_text(base64_encode(wire->password.view()), text_of(each, "passwordBase64"));
    assert_text(wire->kind, text_of(each, "kind"));
    assert_text(wire->service, text_of(each, "service"));
    assert_text(text_of_secret(wire->encode()), url_string);

    const auto id = TokenIdentifier::decode(wire->identifier);
    assert_true(id.ok());
    const json_t* decoded = json_object_get(each, "decoded");
    assert_text(id->owner, text_of(decoded, "owner"));
    assert_text(id->renewer, text_of(decoded, "renewer"));
    assert_text(id->real_user, text_of(decoded, "realUser"));
    assert_int_equal(id->issue_ms, number_of(decoded, "issueDate"));
    assert_int_equal(id->max_ms, number_of(decoded, "maxDate"));
    assert_int_equal(id->sequence, number_of(decoded, "sequenceNumber"));
    assert_int_equal(id->master_key_id, number_of(decoded, "masterKeyId"));
    assert_true(id->encode() == wire->identifier);
  }
}

void tokens_of_a_known_key(void**) {
  const auto vectors = unit::load_json("auth-vectors.json");
  const json_t* list = unit::section(vectors, "tokens_fixed_key", 3);
  // Those in force when they were made.
  const auto rules = NameRules::parse("RULE:[2:$1@$0](.*@TEST\\.REALM)s/@.*// DEFAULT",
                                      NameMechanism::hadoop, "TEST.REALM");
  assert_true(rules.ok());
  std::size_t i;
  json_t* each;
  json_array_foreach(list, i, each) {
    TokenIdentifier id;
    id.owner = text_of(each, "owner");
    const std::string given = text_of(each, "renewerGiven");
    if (!given.empty()) id.renewer = *rules->short_name(given);
    assert_text(id.renewer, text_of(each, "renewerStored"));
    id.real_user = text_of(each, "realUser");
    id.issue_ms = number_of(each, "issueDate");
    id.max_ms = number_of(each, "maxDate");
    id.sequence = static_cast<std::int32_t>(number_of(each, "sequenceNumber"));
    id.master_key_id = static_cast<std::int32_t>(number_of(each, "masterKeyId"));
    assert_text(id.text(), text_of(each, "text"));
    WireToken wire;
    wire.identifier = id.encode();
    assert_text(to_hex(wire.identifier), text_of(each, "identifierHex"));
    auto password = token_password(from_hex(text_of(each, "masterKeyHex")), wire.identifier);
    assert_true(password.ok());
    assert_text(to_hex(password->view()), text_of(each, "passwordHex"));
    wire.password = std::move(*password);
    wire.kind = kTokenKind;
    wire.service = text_of(each, "service");
    assert_text(text_of_secret(wire.encode()), text_of(each, "urlString"));
  }
  assert_false(token_password({}, from_hex("00")).ok());
}

// Whatever is cut off a token, or put in its place, is refused in Java's words.
void damaged_tokens(void**) {
  const std::string good =
      "HQAFYWxpY2UEeWFybgCKAaINXE9HigGiMWjTRwECFNmtVBg6I5-Baqros5H6zomPuLdaBmttcy1kdAA";
  const Bytes raw = base64_decode_lenient(good);
  for (std::size_t cut = 0; cut < raw.size(); ++cut)
    assert_refused(WireToken::decode(base64url_encode(ByteView(raw).first(cut))), kEof);
  assert_refused(WireToken::decode(""), kEof);
  assert_refused(WireToken::decode("!!!"), kEof);
  // Padding, the other alphabet, and what follows the last field do no harm.
  assert_true(WireToken::decode(good + "=").ok());
  std::string standard = good;
  std::ranges::replace(standard, '-', '+');
  assert_true(WireToken::decode(standard).ok());
  Bytes longer = raw;
  longer.insert(longer.end(), {1, 2, 3});
  assert_true(WireToken::decode(base64url_encode(longer)).ok());

  assert_refused(WireToken::decode(base64url_encode(from_hex("fb"))),
                 "java.lang.NegativeArraySizeException: -5");
  assert_refused(WireToken::decode(base64url_encode(from_hex("0000fb"))),
                 "java.lang.IndexOutOfBoundsException: Range [0, 0 + -5) out of bounds for length "
                 "0");
  assert_refused(WireToken::decode(base64url_encode(from_hex("8c7fffffff"))), kEof);
  assert_refused(WireToken::decode(base64url_encode(from_hex("88ffffffffffffffff"))),
                 "java.lang.NegativeArraySizeException: -1");
}

void damaged_identifiers(void**) {
  const Bytes good = from_hex("0005616c696365047961726e008a01a20d5c4f478a01a23168d3470102");
  for (std::size_t cut = 0; cut < good.size(); ++cut)
    assert_refused(TokenIdentifier::decode(ByteView(good).first(cut)), kEof);
  Bytes longer = good;
  longer.push_back(0);
  assert_true(TokenIdentifier::decode(longer).ok());
  assert_refused(TokenIdentifier::decode(from_hex("01")),
                 "java.io.IOException: Unknown version of delegation token 1");
  assert_refused(TokenIdentifier::decode(from_hex("ff")),
                 "java.io.IOException: Unknown version of delegation token -1");
  assert_refused(TokenIdentifier::decode(from_hex("00ff")),
                 "java.io.IOException: tried to deserialize -1 bytes of data!  newLength must be "
                 "non-negative.");
  assert_refused(TokenIdentifier::decode(from_hex("008d100000")),
                 "java.io.IOException: tried to deserialize 1048576 bytes of data, but maxLength = "
                 "1048576");
  assert_refused(TokenIdentifier::decode(from_hex("008d0fffff")), kEof);
  // A sequence number that is none.
  assert_refused(TokenIdentifier::decode(from_hex("000000000000"
                                                  "8b0100000000"
                                                  "00")),
                 "java.io.IOException: value too long to fit in integer");
}

void odd_names(void**) {
  TokenIdentifier id;
  id.owner = std::string("a\0b\xff\xe2\x82", 6);
  id.renewer = std::string(100000, 'x');
  id.real_user = "\xf0\x9f\x94\x91";
  id.issue_ms = std::numeric_limits<std::int64_t>::min();
  id.max_ms = std::numeric_limits<std::int64_t>::max();
  id.sequence = std::numeric_limits<std::int32_t>::min();
  id.master_key_id = std::numeric_limits<std::int32_t>::max();
  const Bytes bytes = id.encode();
  const auto back = TokenIdentifier::decode(bytes);
  assert_true(back.ok());
  assert_true(*back == id);
  assert_true(back->encode() == bytes);
  id.renewer = "r";
  assert_true(utf8(id.text()) ==
              utf8(std::string("kms-dt owner=a\0b", 16) +
                   "\xef\xbf\xbd\xef\xbf\xbd, renewer=r, realUser=\xf0\x9f\x94\x91"
                   ", issueDate=-9223372036854775808, maxDate=9223372036854775807"
                   ", sequenceNumber=-2147483648, masterKeyId=2147483647"));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(numbers_of_java),
      cmocka_unit_test(numbers_of_all_sizes),
      cmocka_unit_test(tokens_of_the_real_server),
      cmocka_unit_test(tokens_of_a_known_key),
      cmocka_unit_test(damaged_tokens),
      cmocka_unit_test(damaged_identifiers),
      cmocka_unit_test(odd_names),
  };
  return cmocka_run_group_tests_name("tokens", tests, nullptr, nullptr);
}
