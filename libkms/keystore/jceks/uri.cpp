// SPDX-License-Identifier: Apache-2.0
// jceks://AUTHORITY/path as Hadoop's ProviderUtils.unnestUri takes it apart (jceks.md d.1).
#include <optional>
#include <vector>

#include "keystore/jceks/jceks_store.h"
#include "keystore/jceks/modified_utf8.h"

namespace kms::jceks {
namespace {

constexpr std::string_view kScheme = "jceks://";

Error bad_uri(std::string_view uri, std::string_view why) {
  return Error(ErrorKind::configuration,
               "keystore URI " + std::string(uri) + ": " + std::string(why));
}

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out += static_cast<char>(*high << 4 | *low);
    i += 2;
  }
  return out;
}

// As org.apache.hadoop.fs.Path: no empty, "." or trailing segments; ".." takes one away.
std::string normalize(std::string_view path) {
  std::vector<std::string_view> kept;
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto segment = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (segment.empty() || segment == ".") continue;
    if (segment == ".." && !kept.empty() && kept.back() != "..") {
      kept.pop_back();
    } else {
      kept.push_back(segment);
    }
  }
  std::string out;
  for (const auto segment : kept) out.append("/").append(segment);
  return out;
}

}  // namespace

Result<std::string> path_of_uri(std::string_view uri) {
  if (!uri.starts_with(kScheme))
    return bad_uri(uri, "only jceks://file@/absolute/path is supported");
  const std::string_view rest = uri.substr(kScheme.size());
  const auto end = rest.find_first_of("/?#");
  const std::string_view authority = rest.substr(0, end);
  const auto at = authority.find('@');
  const std::string_view scheme = authority.substr(0, at);
  if (scheme != "file")
    return bad_uri(uri, "keystores on '" + std::string(scheme) +
                            "' are not supported, only local files: jceks://file@/absolute/path");
  if (at != std::string_view::npos && at + 1 != authority.size())
    return bad_uri(uri, "a local file has no host; write jceks://file@/absolute/path");
  if (end == std::string_view::npos || rest[end] != '/') return bad_uri(uri, "the path is missing");
  // Query and fragment become part of the file's name, so that only their escapes matter.
  auto path = percent_decode(rest.substr(end));
  if (!path.has_value()) return bad_uri(uri, "a '%' is not followed by two hexadecimal digits");
  if (path->find('\0') != std::string::npos || !is_utf8(*path))
    return bad_uri(uri, "the path is not UTF-8 text");
  std::string normal = normalize(*path);
  if (normal.empty()) return bad_uri(uri, "the path is missing");
  return normal;
}

}  // namespace kms::jceks
