// SPDX-License-Identifier: Apache-2.0
#include "rest/media.h"

#include <strings.h>

namespace kms::rest {
namespace {

struct MediaType {
  std::string_view type, subtype;
};

bool is_token_char(char c) {
  return c > 0x20 && c < 0x7f &&
         std::string_view("()<>@,;:\\\"/[]?=").find(c) == std::string_view::npos;
}

bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (char c : text)
    if (!is_token_char(c)) return false;
  return true;
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// type/subtype up to the first ';'; what follows is never looked at.
std::optional<MediaType> parse(std::string_view text) {
  text = trim(text.substr(0, text.find(';')));
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const MediaType media{trim(text.substr(0, slash)), trim(text.substr(slash + 1))};
  if (!is_token(media.type) || !is_token(media.subtype)) return std::nullopt;
  return media;
}

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

MediaCheck check_content_type(std::optional<std::string_view> header) {
  if (!header.has_value() || trim(*header).empty()) return MediaCheck::missing;
  const auto media = parse(*header);
  if (!media.has_value()) return MediaCheck::unparsable;
  if (same(media->type, "application") && same(media->subtype, "json")) return MediaCheck::json;
  const bool unread = same(media->type, "text") ||
                      (same(media->type, "application") && same(media->subtype, "octet-stream"));
  return unread ? MediaCheck::missing : MediaCheck::other;
}

bool accepts_json(std::optional<std::string_view> header) {
  if (!header.has_value() || trim(*header).empty()) return true;
  std::string_view rest = *header;
  bool accepted = false;
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    const std::string_view item = trim(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    if (item.empty()) continue;
    // A lone "*" is what some Java clients send for "*/*".
    const auto media = same(trim(item.substr(0, item.find(';'))), "*")
                           ? std::optional(MediaType{"*", "*"})
                           : parse(item);
    if (!media.has_value()) return false;
    const bool any = media->type == "*" && media->subtype == "*";
    const bool application =
        same(media->type, "application") && (media->subtype == "*" || same(media->subtype, "json"));
    accepted = accepted || any || application;
  }
  return accepted;
}

}  // namespace kms::rest
