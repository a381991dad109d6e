// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/gson.h"

#include <string_view>
#include <unordered_map>

#include "keystore/jceks/gson_lexer.h"

namespace kms::jceks {
namespace {

using Attributes = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kCipher = "cipher", kBitLength = "bitLength", kCreated = "created",
                           kDescription = "description", kAttributes = "attributes",
                           kVersions = "versions";

// String.equalsIgnoreCase("attributes"), which also takes the dotless and the dotted i and the long
// s.
bool is_attributes(std::string_view name) {
  std::string folded;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const std::string_view two = name.substr(i, 2);
    if (two == "\xC4\xB0" || two == "\xC4\xB1" || two == "\xC5\xBF") {
      folded += two[0] == '\xC5' ? 's' : 'i';
      ++i;
    } else {
      const char c = name[i];
      folded += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    }
  }
  return folded == kAttributes;
}

// Members of an object up to its end; false when Gson would throw.
template <class OnMember>
bool members(GsonLexer& in, OnMember on_member) {
  if (!in.accept('{')) return false;
  if (in.accept('}')) return true;
  do {
    const auto name = in.quoted();
    if (!name.has_value() || !in.accept(':') || !on_member(*name)) return false;
  } while (in.accept(','));
  return in.accept('}');
}

bool read_attributes(GsonLexer& in, Attributes& out) {
  out.clear();  // a repeated member starts anew
  std::unordered_map<std::string, std::size_t> place;
  return members(in, [&](const std::string& name) {
    auto value = in.string_value();
    if (!value.has_value()) return false;
    const auto [known, is_new] = place.try_emplace(name, out.size());
    if (is_new) {
      out.emplace_back(name, std::move(*value));
    } else {
      out[known->second].second = std::move(*value);
    }
    return true;
  });
}

template <class T, class U>
bool store(std::optional<T> value, U& target) {
  if (value.has_value()) target = std::move(*value);
  return value.has_value();
}

bool read_member(GsonLexer& in, const std::string& name, StoredMetadata& out) {
  if (name == kCipher) return store(in.string_value(), out.cipher);
  if (name == kBitLength) return store(in.int_value(), out.bit_length);
  if (name == kCreated) return store(in.long_value(), out.created_ms);
  if (name == kVersions) return store(in.int_value(), out.versions);
  if (name == kDescription) return store(in.string_value(), out.description);
  return is_attributes(name) && read_attributes(in, out.attributes);
}

void append_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  static constexpr std::string_view kFrom = "\"\\\t\b\n\r\f", kTo = "\"\\tbnrf";
  out += '"';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (const std::size_t known = kFrom.find(c); known != std::string_view::npos) {
      out += '\\';
      out += kTo[known];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else if (text.substr(i, 3) == "\xE2\x80\xA8" || text.substr(i, 3) == "\xE2\x80\xA9") {
      // U+2028 and U+2029 end a line in JavaScript.
      out += text[i + 2] == '\xA8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_name(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  append_string(out, name);
  out += ':';
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  append_name(out, name);
  append_string(out, value);
}

void append_member(std::string& out, std::string_view name, std::int64_t value) {
  append_name(out, name);
  out += std::to_string(value);
}

}  // namespace

KeyMetadata StoredMetadata::to_metadata(std::string name) const {
  KeyMetadata out;
  out.name = std::move(name);
  out.cipher = cipher.value_or("");
  out.bit_length = bit_length;
  out.description = description;
  out.attributes.insert(attributes.begin(), attributes.end());
  out.created_ms = created_ms.value_or(0);
  out.versions = versions;
  return out;
}

Result<StoredMetadata> parse_metadata(ByteView json) {
  GsonLexer in(json);
  StoredMetadata out;
  const bool good =
      members(in, [&](const std::string& name) { return read_member(in, name, out); });
  if (!good) return Error(ErrorKind::corrupt, "the JSON of the key's metadata is damaged");
  return out;
}

std::string write_metadata(const StoredMetadata& metadata) {
  std::string out = "{";
  if (metadata.cipher) append_member(out, kCipher, *metadata.cipher);
  if (metadata.bit_length != 0)
    append_member(out, kBitLength, static_cast<std::int64_t>(metadata.bit_length));
  if (metadata.created_ms) append_member(out, kCreated, *metadata.created_ms);
  if (metadata.description) append_member(out, kDescription, *metadata.description);
  if (!metadata.attributes.empty()) {
    append_name(out, kAttributes);
    out += '{';
    for (const auto& [name, value] : metadata.attributes) append_member(out, name, value);
    out += '}';
  }
  append_member(out, kVersions, static_cast<std::int64_t>(metadata.versions));
  out += '}';
  return out;
}

}  // namespace kms::jceks
