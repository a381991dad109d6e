// SPDX-License-Identifier: Apache-2.0
#include "rest/path.h"

#include <unistr.h>

#include <array>
#include <utility>

namespace kms::rest {
namespace {

struct SubResource {
  std::string_view segment;
  Resource resource;
};

constexpr std::array<SubResource, 7> kKeySubResources{{
    {"_metadata", Resource::key_metadata},
    {"_currentversion", Resource::current_version},
    {"_versions", Resource::key_versions},
    {"_eek", Resource::key_eek},
    {"_invalidatecache", Resource::invalidate_cache},
    {"_reencryptbatch", Resource::reencrypt_batch},
    {"_state", Resource::key_state},
}};
constexpr std::array<SubResource, 1> kVersionSubResources{{{"_eek", Resource::key_version_eek}}};

constexpr std::array<SubResource, 5> kFixed{{
    {"/kms/v1", Resource::root},
    {"/kms/v1/keys", Resource::keys},
    {"/kms/v1/keys/names", Resource::key_names},
    {"/kms/v1/keys/metadata", Resource::keys_metadata},
    {"/kms/v1/trustee/keys", Resource::trustee_keys},
}};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Drops ";…" of every segment, as Jersey does with matrix parameters.
std::string without_matrix_parameters(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  bool dropping = false;
  for (char c : path) {
    if (c == '/') dropping = false;
    if (c == ';') dropping = true;
    if (!dropping) out += c;
  }
  return out;
}

Result<std::optional<PathMatch>> named(Resource resource, std::string_view raw_name) {
  PathMatch match{resource, percent_decode(raw_name, false)};
  if (!is_utf8_without_nul(match.name))
    return Error(ErrorKind::invalid_argument, "The name in the path is not valid UTF-8");
  return std::optional(std::move(match));
}

// rest is what follows "/kms/v1/key/": NAME, or NAME "/" SEGMENT ["/"].
template <std::size_t N>
Result<std::optional<PathMatch>> match_named(std::string_view rest, Resource plain,
                                             const std::array<SubResource, N>& subs) {
  std::string_view trimmed = rest;
  if (trimmed.ends_with('/')) trimmed.remove_suffix(1);
  if (const auto slash = trimmed.rfind('/'); slash != std::string_view::npos) {
    const std::string_view segment = trimmed.substr(slash + 1);
    for (const SubResource& sub : subs)
      if (segment == sub.segment) return named(sub.resource, trimmed.substr(0, slash));
  }
  return named(plain, rest);
}

constexpr std::string_view kKey = "/kms/v1/key/", kKeyVersion = "/kms/v1/keyversion/";
constexpr std::string_view kTrusteeKey = "/kms/v1/trustee/key/";

}  // namespace

std::string path_template(Resource resource) {
  for (const SubResource& row : kFixed)
    if (row.resource == resource) return std::string(row.segment);
  if (resource == Resource::trustee_key) return std::string(kTrusteeKey) + "{name}";
  const std::string key = std::string(kKey) + "{name}";
  for (const SubResource& sub : kKeySubResources)
    if (sub.resource == resource) return key + "/" + std::string(sub.segment);
  const std::string version = std::string(kKeyVersion) + "{version}";
  for (const SubResource& sub : kVersionSubResources)
    if (sub.resource == resource) return version + "/" + std::string(sub.segment);
  return resource == Resource::key ? key : version;
}

std::string percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '%' && i + 2 < text.size()) {
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high << 4 | low);
        i += 2;
        continue;
      }
    }
    out += c == '+' && plus_is_space ? ' ' : c;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

bool is_utf8_without_nul(std::string_view text) {
  return text.find('\0') == std::string_view::npos &&
         u8_check(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()) == nullptr;
}

Result<std::optional<PathMatch>> match_path(std::string_view raw_path) {
  const std::string path = without_matrix_parameters(raw_path);
  std::string_view fixed = path;
  if (fixed.ends_with('/')) fixed.remove_suffix(1);
  for (const SubResource& row : kFixed)
    if (fixed == row.segment) return std::optional(PathMatch{row.resource, {}});

  const std::string_view whole = path;
  if (whole.starts_with(kKey))
    return match_named(whole.substr(kKey.size()), Resource::key, kKeySubResources);
  if (whole.starts_with(kKeyVersion))
    return match_named(whole.substr(kKeyVersion.size()), Resource::key_version,
                       kVersionSubResources);
  if (whole.starts_with(kTrusteeKey))
    return named(Resource::trustee_key, whole.substr(kTrusteeKey.size()));
  return std::optional<PathMatch>();
}

}  // namespace kms::rest
