// SPDX-License-Identifier: Apache-2.0
// The formats inside a keystore, piece by piece: jceks.md (a) to (c) and (f).
#include <openssl/evp.h>

#include <random>

#include "crypto/random.h"
#include "jceks_util.h"
#include "keystore/jceks/alias.h"
#include "keystore/jceks/java_stream.h"
#include "keystore/jceks/java_writer.h"
#include "keystore/jceks/keygen.h"
#include "keystore/jceks/modified_utf8.h"
#include "keystore/jceks/pbe.h"
#include "keystore/jceks/sealed_object.h"

using namespace kms;
using namespace kms::jceks;
using unit::assert_error;
using unit::assert_text;
using unit::from_hex;
using unit::to_hex;

namespace {

constexpr char kMetadataJson[] =
    R"({"cipher":"AES/CTR/NoPadding","bitLength":128,"created":1795521760180,"versions":1})";
constexpr char kMetadataHead[] =
    "aced00057372003d6f72672e6170616368652e6861646f6f702e63727970746f2e6b65792e4a6176614b657953746f"
    "726550726f7669646572244b65794d6574616461746174a7a86e037035930300014c00086d65746164617461740033"
    "4c6f72672f6170616368652f6861646f6f702f63727970746f2f6b65792f4b657950726f7669646572244d65746164"
    "6174613b7870";
constexpr char kVersionPlain[] =
    "aced00057372001f6a617661782e63727970746f2e737065632e5365637265744b6579537065635b470b66e230614d"
    "0200024c0009616c676f726974686d7400124c6a6176612f6c616e672f537472696e673b5b00036b65797400025b42"
    "78707400114145532f4354522f4e6f50616464696e677572"
    "00025b42acf317f8060854e00200007870000000107207236a086ed6cb03b911f64698a1d8";

// Hexadecimal digits, with spaces where they help the eye.
Bytes hex(std::string text) {
  std::erase(text, ' ');
  return from_hex(text);
}

// 3DES-CBC with PKCS#7, straight from OpenSSL.
Bytes des3(ByteView key, ByteView iv, ByteView plain) {
  EVP_CIPHER_CTX* ctx = EVP_CIPHER_CTX_new();
  Bytes out(plain.size() + 8);
  int a = 0, b = 0;
  EVP_EncryptInit_ex(ctx, EVP_des_ede3_cbc(), nullptr, key.data(), iv.data());
  EVP_EncryptUpdate(ctx, out.data(), &a, plain.data(), static_cast<int>(plain.size()));
  EVP_EncryptFinal_ex(ctx, out.data() + a, &b);
  EVP_CIPHER_CTX_free(ctx);
  out.resize(static_cast<std::size_t>(a + b));
  return out;
}

PbeParams params_of(const char* der) {
  return *parse_pbe_params(hex(der));
}

void pbe_known_keys(void**) {
  struct {
    const char *params, *key, *iv, *plain;
  } const vectors[] = {
      {"300f0408 234991c529203239 0203030d40", "B9165B770B9C70DF483F48AA7D85ED6C4B2C865BECEFA530",
       "9982EDA27798F8ED", nullptr},
      {"300f04087193e893a994def30203030d40", "A63244AC7B534FD0A7F18A2D2D6CF818A09ECB68785AA2B3",
       "0ADC6B5EEF4C02BA", kVersionPlain},
  };
  for (const auto& v : vectors) {
    const Bytes plain = v.plain != nullptr ? from_hex(v.plain) : from_hex("aced000570");
    const PbeParams params = params_of(v.params);
    assert_int_equal(params.iterations, 200000);
    const Bytes want = des3(from_hex(v.key), from_hex(v.iv), plain);
    assert_true(*pbe_encrypt(params, as_bytes("none"), plain) == want);
    assert_true(pbe_decrypt(params, as_bytes("none"), want)->equals(plain));
  }
}

void pbe_refusals(void**) {
  PbeParams params{{1, 2, 3, 4, 5, 6, 7, 8}, 1};
  const Bytes plain = from_hex("aced000570");
  const Bytes sealed = *pbe_encrypt(params, as_bytes("pw"), plain);
  assert_true(pbe_decrypt(params, as_bytes("pw"), sealed)->equals(plain));
  assert_error(pbe_decrypt(params, as_bytes("px"), sealed), ErrorKind::corrupt, "");
  assert_error(pbe_decrypt(params, as_bytes("pw"), ByteView(sealed).first(7)), ErrorKind::corrupt,
               "multiple of 8");
  assert_error(pbe_decrypt(params, as_bytes("pw"), {}), ErrorKind::corrupt, "multiple of 8");
  assert_error(pbe_decrypt(params, as_bytes("p\xC3\xA9"), sealed), ErrorKind::io,
               "Password is not ASCII");
  assert_error(pbe_encrypt(params, as_bytes("p\n"), plain), ErrorKind::io, "Password is not ASCII");
  params.iterations = 0;
  assert_error(pbe_decrypt(params, as_bytes("pw"), sealed), ErrorKind::corrupt,
               "IterationCount must be a positive number");
  params.iterations = kMaxIterations + 1;
  assert_error(pbe_decrypt(params, as_bytes("pw"), sealed), ErrorKind::corrupt,
               "PBE iteration count too large");
  params.iterations = 2;
  assert_error(pbe_decrypt(params, as_bytes("pw"), sealed, 1), ErrorKind::corrupt, "too large");
  assert_true(pbe_encrypt(params, {}, plain).ok());  // the empty password works
}

// JDK 7 turned equal halves [a b c d] into [d a b d] for the first digest.
void pbe_old_salt_slip(void**) {
  const PbeParams equal{{0x11, 0x22, 0x33, 0x44, 0x11, 0x22, 0x33, 0x44}, 3};
  const PbeParams as_jdk7{{0x44, 0x11, 0x22, 0x44, 0x11, 0x22, 0x33, 0x44}, 3};
  const PbeParams as_jdk17{{0x44, 0x33, 0x22, 0x11, 0x11, 0x22, 0x33, 0x44}, 3};
  const Bytes plain = from_hex("aced00057400026869");
  for (const auto& writer : {as_jdk7, as_jdk17}) {
    const Bytes sealed = *pbe_encrypt(writer, as_bytes("none"), plain);
    auto opened = pbe_decrypt(equal, as_bytes("none"), sealed);
    assert_true(opened.ok());
    assert_true(opened->equals(plain));
  }
  for (int i = 0; i < 100; ++i) {
    const PbeParams fresh = *new_pbe_params(20);
    assert_false(std::equal(fresh.salt.begin(), fresh.salt.begin() + 4, fresh.salt.begin() + 4));
  }
}

void pbe_parameter_der(void**) {
  struct {
    std::int32_t count;
    const char* der;
  } const written[] = {{200000, "300f0408010203040506070802 03030d40"},
                       {10000, "300e0408010203040506070802 022710"},
                       {1000000, "300f0408010203040506070802 030f4240"},
                       {20, "300d0408010203040506070802 0114"},
                       {200, "300e0408010203040506070802 0200c8"},
                       {5000000, "300f0408010203040506070802 034c4b40"}};
  for (const auto& v : written) {
    assert_text(to_hex(encode_pbe_params({{1, 2, 3, 4, 5, 6, 7, 8}, v.count})), to_hex(hex(v.der)));
    assert_int_equal(params_of(v.der).iterations, v.count);
  }
  // Long-form length, padded integer, zero and less.
  assert_int_equal(params_of("30810e0408010203040506070802 022710").iterations, 10000);
  assert_int_equal(params_of("30100408010203040506070802 0400002710").iterations, 10000);
  assert_int_equal(params_of("300d0408010203040506070802 0100").iterations, 0);
  assert_int_equal(params_of("300d0408010203040506070802 01ff").iterations, -1);
  for (const char* bad :
       {"", "30", "300f", "310e0408010203040506070802022710", "300f040801020304050607080202271000",
        "300e040801020304050607080202271000", "300d04070102030405060702022710",
        "30110408010203040506070802050100000000", "300c04080102030405060708 0200",
        "30800408010203040506070802022710 0000", "30ffffffffff", "300a04080102030405060708"})
    assert_false(parse_pbe_params(hex(bad)).ok());
}

void digest_takes_utf16(void**) {
  // SHA-1 of "none" in UTF-16BE, the whitener, and the header of an empty store: file empty.jceks.
  const std::string file = unit::read_file(unit::data_path("jceks/empty.jceks"));
  const auto digest = store_digest(as_bytes("none"), as_bytes(file).first(12));
  assert_true(std::equal(digest->begin(), digest->end(), as_bytes(file).begin() + 12));
  assert_true(utf16be(as_bytes("a\xC3\xA9\xF0\x9F\x94\x91")).equals(from_hex("006100e9d83ddd11")));
  assert_true(utf16be(as_bytes("\xFF"
                               "a"))
                  .equals(from_hex("fffd0061")));
}

void modified_utf8(void**) {
  struct {
    const char* modified;
    std::string_view text;
  } const pairs[] = {{"6b6579", "key"},
                     {"c080", std::string_view("\0", 1)},
                     {"c3a9e697a5", "\xC3\xA9\xE6\x97\xA5"},
                     {"eda0bdedb491", "\xF0\x9F\x94\x91"},
                     {"61eda0bd", "a\xED\xA0\xBD"},
                     {"edb491eda0bd", "\xED\xB4\x91\xED\xA0\xBD"},
                     {"7fc280dfbfe0a080efbfbf", "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF"}};
  for (const auto& p : pairs) {
    assert_true(from_modified_utf8(from_hex(p.modified)) == std::string(p.text));
    Bytes out;
    append_modified_utf8(out, p.text);
    assert_text(to_hex(out), p.modified);
    assert_int_equal(modified_utf8_size(p.text), out.size());
  }
  // Java takes overlong forms, and a raw zero byte.
  assert_true(from_modified_utf8(from_hex("c181")) == std::string("A"));
  assert_true(from_modified_utf8(from_hex("00")) == std::string(1, '\0'));
  for (const char* bad : {"80", "c3", "c328", "e380", "f09f9491", "ff", "e3c080"})
    assert_false(from_modified_utf8(from_hex(bad)).has_value());
  assert_text(to_utf8("a\xED\xA0\xBD"), "a\xEF\xBF\xBD");
}

void modified_utf8_round_trips(void**) {
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int n = static_cast<int>(random() % 20); n > 0; --n) {
      static constexpr char32_t kTops[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
      const char32_t c = random() % (kTops[random() % 4] + 1);
      // A low surrogate behind a high one is a pair, which has another form.
      if (c < 0xDC00 || c > 0xDFFF) append_utf8(text, c);
    }
    Bytes out;
    append_modified_utf8(out, text);
    assert_int_equal(modified_utf8_size(text), out.size());
    assert_true(from_modified_utf8(out) == text);
  }
}

void outer_template(void**) {
  const Bytes params = from_hex("300f0408234991c5292032390203030d40");
  const Bytes content(240, 0x0A);
  const Bytes stream = encode_sealed_object(params, content);
  assert_int_equal(stream.size(), 545);
  assert_text(
      to_hex(ByteView(stream).first(0xFB)),
      "aced000573720033636f6d2e73756e2e63727970746f2e70726f76696465722e5365616c65644f626a656374466f"
      "724b657950726f746563746f72cd57ca59e730bb53020000787200196a617661782e63727970746f2e5365616c65"
      "644f626a6563743e363da6c3b754700200045b000d656e636f646564506172616d737400025b425b0010656e6372"
      "7970746564436f6e74656e7471007e00024c0009706172616d73416c677400124c6a6176612f6c616e672f537472"
      "696e673b4c00077365616c416c6771007e00037870757200025b42acf317f8060854e0020000787000000011300f"
      "0408234991c5292032390203030d407571007e0005");
  const auto parsed = parse_sealed_object(stream);
  assert_true(parsed.ok());
  assert_int_equal(parsed->size, stream.size());
  assert_true(std::equal(content.begin(), content.end(), parsed->ciphertext->begin()));
  // What follows is another entry's.
  Bytes longer = stream;
  longer.push_back(0x77);
  assert_int_equal(parse_sealed_object(longer)->size, stream.size());
}

void outer_stream_cut_anywhere(void**) {
  const Bytes stream = encode_sealed_object(from_hex("300d04083132333435363738020100"), Bytes(8));
  for (std::size_t n = 0; n < stream.size(); ++n)
    assert_false(parse_sealed_object(ByteView(stream).first(n)).ok());
}

// The outer stream up to the flags of its second class.
const std::string kProtectorHead =
    "aced0005 73 72 0033 "
    "636f6d2e73756e2e63727970746f2e70726f76696465722e5365616c65644f626a656374466f72"
    "4b657950726f746563746f72 cd57ca59e730bb53";
const std::string kSuperHead =
    "72 0019 6a617661782e63727970746f2e5365616c65644f626a656374 3e363da6c3b75470";
const std::string kByteArray = "75 72 0002 5b42 acf317f8060854e0 02 0000 78 70";
const std::string kObjectHead = kProtectorHead + "02 0000 78" + kSuperHead;

bool taken(const std::string& stream) {
  return parse_sealed_object(hex(stream)).ok();
}

void outer_stream_variants(void**) {
  assert_true(taken(kObjectHead + "02 0000 78 70"));
  // Unknown fields of all types; annotations of block data, strings and references.
  const std::string unknown =
      kObjectHead +
      "02 000b 42 0001 61 43 0001 62 44 0001 63 46 0001 64 49 0001 65 4a 0001 66 53 0001 67 5a "
      "0001 68"
      "4c 0001 69 74 0001 73  5b 0001 6a 71 007e0002  4c 0001 6b 71 007e0002"
      "77 02 0102 7a 00000001 ff 74 0001 7a 70 71 007e0002 78 70";
  const std::string primitives =
      "01 0002 0000000000000003 00000004 00000005 0000000000000006 0007 01";
  assert_true(taken(unknown + primitives + "74 0001 78" + kByteArray + "00000000" + "70"));
  assert_true(taken(unknown + primitives + "7c 0000000000000001 78 70 71 007e0003"));
  assert_false(taken(unknown + primitives + "70 70"));
  // Flag 01: data up to an end mark follows the fields.
  const std::string custom = kProtectorHead + "03 0000 78" + kSuperHead + "03 0000 78 70";
  assert_true(taken(custom + "77 01 01 78 7a 00000001 01 78"));
  assert_false(taken(custom + "77 01 01 78"));
  // Null instead of the object; a reset before it.
  assert_true(taken("aced0005 70"));
  assert_true(taken("aced0005 79 70"));
  assert_false(taken("aced0005 74 0001 61"));
  assert_false(taken("aced0006 70"));
}

void outer_stream_refusals(void**) {
  const std::string field =
      kObjectHead + "02 0001 5b 000d 656e636f646564506172616d73 74 0002 5b42 78 70";
  assert_true(taken(field + "70"));
  assert_true(taken(field + kByteArray + "00000001 ff"));
  for (const std::string& bad :
       {field + "74 0001 61", field + kByteArray + "7fffffff", field + kByteArray + "ffffffff 00",
        field + "75 72 0002 5b49 4dba602676eab2a5 02 0000 78 70 00000000", field + "75 70 00000000",
        field + "71 007e0000", field + "71 007f0000", field + "71 00000000", field + "76",
        field + "73 71 007e0000", field + "7e 71 007e0001 74 0001 61",
        // Not serializable, or externalizable; a field of no type; a malformed name.
        kProtectorHead + "00 0000 78 70", kProtectorHead + "06 0000 78 70",
        kObjectHead + "02 0001 58 0001 61 78 70", kObjectHead + "02 0001 49 0001 ff 78 70",
        // Another class; another serialVersionUID; the superclass alone.
        std::string("aced0005 73 72 0011 6a6176612e7574696c2e486173684d6170 0507dac1c31660d1 02 "
                    "0000 78 70"),
        kProtectorHead.substr(0, kProtectorHead.size() - 1) + "4 02 0000 78" + kSuperHead +
            "02 0000 78 70",
        "aced0005 73" + kSuperHead + "02 0000 78 70",
        // A class that is its own superclass.
        kProtectorHead + "02 0000 78 71 007e0000"})
    assert_false(taken(bad));
  std::string deep = kProtectorHead + "02 0000";
  for (int i = 0; i < 1000; ++i) deep += "75" + kSuperHead + "02 0000";
  assert_false(taken(deep));
}

SealedKey decoded(const std::string& text) {
  auto key = decode_key(from_hex(text));
  if (!key.ok()) _fail(key.error().message.c_str(), 0);
  return std::move(*key);
}

void inner_version(void**) {
  const SealedKey key = decoded(kVersionPlain);
  const auto& secret = std::get<SecretKey>(key);
  assert_text(secret.algorithm, "AES/CTR/NoPadding");
  assert_text(to_hex(secret.material.view()), "7207236a086ed6cb03b911f64698a1d8");
  assert_text(to_hex(encode_secret_key(secret.algorithm, secret.material.view()).view()),
              kVersionPlain);
  const Bytes plain = from_hex(kVersionPlain);
  for (std::size_t n = 0; n < plain.size(); ++n)
    assert_false(decode_key(ByteView(plain).first(n)).ok());
  // An algorithm that no 16-bit length can hold, and one with every sort of character.
  for (const std::string& text : {std::string(70000, 'x'), std::string("\xF0\x9F\x94\x91\0z", 6)}) {
    const Secret encoded = encode_secret_key(text, from_hex("01"));
    const auto again = decode_key(encoded.view());
    assert_true(std::get<SecretKey>(*again).algorithm == text);
  }
}

void inner_metadata(void**) {
  StoredMetadata stored = *parse_metadata(as_bytes(kMetadataJson));
  const std::string want =
      std::string(kMetadataHead) + "775700000053" + to_hex(as_bytes(kMetadataJson)) + "78";
  assert_text(to_hex(encode_metadata(stored).view()), want);
  assert_text(write_metadata(std::get<StoredMetadata>(decoded(want))), kMetadataJson);
  // Trailing bytes and objects in and behind the data are nothing to us, a missing end mark is.
  decoded(want + "ffff");
  decoded(want.substr(0, want.size() - 2) + "7702ffff7400016178");
  assert_false(decode_key(from_hex(want.substr(0, want.size() - 2))).ok());
  assert_false(decode_key(hex(std::string(kMetadataHead) + "7705 00000005 7b 78")).ok());
  assert_false(decode_key(from_hex(std::string(kMetadataHead) + "770300000078")).ok());
}

// Sizes of jceks.md b.4: how Java cuts T bytes of length and JSON.
void inner_block_layout(void**) {
  struct {
    std::size_t total;
    std::vector<std::string> records;  // tag and length of each
  } const layouts[] = {{255, {"77ff"}},
                       {256, {"7a00000100"}},
                       {404, {"7a00000194"}},
                       {1022, {"7a000003fe"}},
                       {1024, {"7a00000400"}},
                       {1025, {"7a00000400", "7701"}},
                       {1279, {"7a00000400", "77ff"}},
                       {1280, {"7a00000400", "7a00000100"}},
                       {2048, {"7a00000400", "7a00000400"}},
                       {2604, {"7a00000400", "7a00000400", "7a0000022c"}}};
  for (const auto& layout : layouts) {
    StoredMetadata stored;
    stored.description = "";
    const std::size_t empty = write_metadata(stored).size() + 4;
    stored.description = std::string(layout.total - empty, 'd');
    const Secret plain = encode_metadata(stored);
    ByteView rest = plain.view().subspan(sizeof kMetadataHead / 2);
    for (const std::string& head : layout.records) {
      const Bytes bytes = from_hex(head);
      assert_text(to_hex(rest.first(bytes.size())), head);
      std::size_t length = bytes[0] == 0x77 ? bytes[1] : bytes[3] * 256u + bytes[4];
      rest = rest.subspan(bytes.size() + length);
    }
    assert_text(to_hex(rest), "78");
    assert_true(std::get<StoredMetadata>(*decode_key(plain.view())).description ==
                stored.description);
  }
}

void seal_and_unseal(void**) {
  const Secret plain = encode_secret_key("AES", from_hex("000102"));
  const Bytes body = *seal_key(plain.view(), as_bytes("none"), 20);
  const auto key = unseal_key(body, as_bytes("none"));
  assert_text(to_hex(std::get<SecretKey>(*key).material.view()), "000102");
  assert_error(unseal_key(body, as_bytes("other")), ErrorKind::corrupt, "");
  assert_true(*seal_key(plain.view(), as_bytes("none"), 20) != body);
}

void names_of_keys(void**) {
  const FoldedAlias same("me-up@0"), ascii("ME-Up@0"), unicode("\xC4\xB0\xCE\xA3\xCE\x91\xCE\xA3"),
      lone("A\xED\xA0\xBD"), longer(std::string(300, 'Q'));
  assert_text(same.view(), "me-up@0");
  assert_text(ascii.view(), "me-up@0");
  assert_text(unicode.view(), "i\xCC\x87\xCF\x83\xCE\xB1\xCF\x82");
  assert_text(lone.view(), "a\xED\xA0\xBD");
  assert_text(longer.view(), std::string(300, 'q'));
  assert_true(check_new_name("a/b c%?#@\xE6\x97\xA5").ok());
  assert_true(check_new_name(std::string(65535 - 11, 'a')).ok());
  const auto bad = ErrorKind::invalid_argument;
  assert_error(check_new_name(std::string(65535 - 10, 'a')), bad, "longer");
  assert_error(check_new_name("Key"), bad, "Uppercase key names are unsupported: Key");
  assert_error(check_new_name("\xC3\x89"), bad, "Uppercase");
  assert_error(check_new_name(""), bad, "empty");
  assert_error(check_new_name(std::string_view("a\0b", 3)), bad, "NUL");
  assert_error(check_new_name("a\xFF"), bad, "UTF-8");
  assert_error(check_new_name("a\xED\xA0\xBD"), bad, "UTF-8");
}

void generators_of_the_jdk(void**) {
  struct {
    const char* cipher;
    std::int32_t bits;
    std::size_t bytes;  // 0: refused
    const char* refusal;
  } const cases[] = {{"AES/CTR/NoPadding", 128, 16, ""},
                     {"aes", 256, 32, ""},
                     {"AES", 192, 24, ""},
                     {"AES", 100, 0, "Wrong keysize: must be equal to 128, 192 or 256"},
                     {"AES", 512, 0, "Wrong keysize: must be equal to 128, 192 or 256"},
                     {"AES", -1, 0, "Wrong keysize: must be equal to 128, 192 or 256"},
                     {"HmacSHA256", 40, 5, ""},
                     {"HmacSHA256", 41, 6, ""},
                     {"HmacSHA256", 39, 0, "Key length must be at least 40 bits"},
                     {"HmacSHA256", 2147483647, 0, "The key is too long"},
                     {"HMACMD5", 8, 1, ""},
                     {"DES/CBC/NoPadding", 56, 8, ""},
                     {"DES", 64, 0, "Wrong keysize: must be equal to 56"},
                     {"DESede", 168, 24, ""},
                     {"TripleDES", 128, 0, "Wrong keysize: must be equal to 112 or 168"},
                     {"Blowfish", 448, 56, ""},
                     {"Blowfish", 41, 0, "Keysize must be multiple of 8"},
                     {"RC4", 1024, 128, ""},
                     {"RC2", 1025, 0, "Key length for RC2 must be between 40 and 1024 bits"},
                     {"ChaCha20", 256, 32, ""},
                     {"ChaCha20", 128, 0, "Key length for ChaCha20 must be 256 bits"}};
  for (const auto& c : cases) {
    const auto made = generate_material(c.cipher, c.bits);
    if (c.bytes == 0) {
      assert_error(made, ErrorKind::invalid_key_length, c.refusal);
    } else {
      assert_int_equal(made->size(), c.bytes);
    }
  }
  for (const char* unknown : {"FOO/CTR/NoPadding", "", "/", "SM4/CTR/NoPadding", "SunTlsPrf"}) {
    const auto made = generate_material(unknown, 128);
    assert_error(made, ErrorKind::unknown_cipher, "");
    assert_false(made.error().has_message);
  }
}

void uris(void**) {
  struct {
    const char *uri, *path;
  } const good[] = {
      {"jceks://file@/p/ks", "/p/ks"},           {"jceks://file/p/ks", "/p/ks"},
      {"jceks://file@/p%2Fk%66s", "/p/kfs"},     {"jceks://file@/p/ks?x=1", "/p/ks?x=1"},
      {"jceks://file@/p/ks#a%20b", "/p/ks#a b"}, {"jceks://file@//p/./a/../ks/", "/p/ks"}};
  for (const auto& g : good) assert_text(*path_of_uri(g.uri), g.path);
  for (const char* bad :
       {"JCEKS://file@/p", "jceks:file/p", "jceks://file@host/p", "jceks://hdfs@nn:8020/p",
        "jceks://file@", "jceks://file@/", "jceks://file", "jceks:///p", "jceks://@/p", "/p", "",
        "jceks://file@/p%4", "jceks://file@/p%zz", "jceks://file@/p%00", "jceks://file@?x",
        "user:///", "localjceks://file@/p"})
    assert_error(path_of_uri(bad), ErrorKind::configuration, bad);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(pbe_known_keys),
      cmocka_unit_test(pbe_refusals),
      cmocka_unit_test(pbe_old_salt_slip),
      cmocka_unit_test(pbe_parameter_der),
      cmocka_unit_test(digest_takes_utf16),
      cmocka_unit_test(modified_utf8),
      cmocka_unit_test(modified_utf8_round_trips),
      cmocka_unit_test(outer_template),
      cmocka_unit_test(outer_stream_cut_anywhere),
      cmocka_unit_test(outer_stream_variants),
      cmocka_unit_test(outer_stream_refusals),
      cmocka_unit_test(inner_version),
      cmocka_unit_test(inner_metadata),
      cmocka_unit_test(inner_block_layout),
      cmocka_unit_test(seal_and_unseal),
      cmocka_unit_test(names_of_keys),
      cmocka_unit_test(generators_of_the_jdk),
      cmocka_unit_test(uris),
  };
  return cmocka_run_group_tests_name("jceks formats", tests, nullptr, nullptr);
}
