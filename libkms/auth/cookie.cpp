// SPDX-License-Identifier: Apache-2.0
#include "auth/cookie.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <optional>
#include <utility>

#include "auth/text.h"
#include "crypto/base64.h"

namespace kms {
namespace {

constexpr std::string_view kSignaturePart = "&s=";
constexpr std::string_view kSignerException =
    "org.apache.hadoop.security.authentication.util.SignerException: ";
constexpr std::string_view kMissing = "Invalid token string, missing attributes";
// How much of an unsigned cookie the reason phrase repeats; Java repeats it all.
constexpr std::size_t kEchoedBytes = 64;

Error refused(std::string_view reason) {
  return Error(ErrorKind::authentication, std::string(reason));
}

// '&' separates the parts. A quote, a semicolon or a control character would end the cookie or the
// header early: the client could not send back what was signed.
bool fits_in_token(std::string_view part) {
  return !part.empty() && std::none_of(part.begin(), part.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' || c == '\x7f' || c == '&' || c == '"' || c == ';';
  });
}

std::string_view without_quotes(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  return value;
}

// As Java's Long.parseLong for ASCII digits.
std::optional<std::int64_t> parse_long(std::string_view text) {
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text.front() == '-') return std::nullopt;
  }
  std::int64_t number = 0;
  const auto end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return number;
}

struct Attributes {
  std::optional<std::string_view> user, principal, type, max_inactive, expires;

  std::optional<std::string_view>* named(std::string_view name) {
    if (name == "u") return &user;
    if (name == "p") return &principal;
    if (name == "t") return &type;
    if (name == "i") return &max_inactive;
    if (name == "e") return &expires;
    return nullptr;
  }
};

Result<Attributes> split(std::string_view text) {
  Attributes found;
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view piece = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (piece.empty()) continue;
    const std::size_t equals = piece.find('=');
    if (equals == std::string_view::npos) return refused("Invalid authentication token");
    // Unknown names are skipped; the last of several wins.
    if (auto* attribute = found.named(piece.substr(0, equals)))
      *attribute = piece.substr(equals + 1);
  }
  return found;
}

Result<AuthToken> parse_token(std::string_view text) {
  auto split_text = split(text);
  if (!split_text.ok()) return std::move(split_text).error();
  const Attributes& found = *split_text;
  if (found.user.value_or("").empty() || found.principal.value_or("").empty() ||
      found.type.value_or("").empty() || !found.expires)
    return refused(kMissing);
  // Java fails with 500 where a number does not parse; nobody can rely on that.
  const auto expires = parse_long(*found.expires);
  const auto max_inactive = parse_long(found.max_inactive.value_or("-1"));
  if (!expires || !max_inactive) return refused(kMissing);
  AuthToken token;
  token.user = *found.user;
  token.principal = *found.principal;
  token.type = *found.type;
  token.expires_ms = *expires;
  token.max_inactive_ms = *max_inactive;
  return token;
}

// "; Expires=Tue, 24-Nov-2026 11:49:22 GMT"; nothing for a time that no calendar holds.
std::string expires_attribute(std::int64_t time_ms) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = static_cast<std::time_t>(time_ms / 1000);
  std::tm t{};
  if (gmtime_r(&seconds, &t) == nullptr || t.tm_year + 1900 > 9999) return {};
  char text[64];
  std::snprintf(text, sizeof text, "; Expires=%s, %02d-%s-%04d %02d:%02d:%02d GMT",
                kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon], t.tm_year + 1900, t.tm_hour,
                t.tm_min, t.tm_sec);
  return text;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Where the cookie that starts at begin ends: at the next ';' that is not inside a quoted value. A
// quote that does not end right before a ';' or the end of the header is no quote.
std::size_t cookie_end(std::string_view header, std::size_t begin) {
  const std::size_t plain = std::min(header.find(';', begin), header.size());
  const std::size_t equals = header.substr(0, plain).find('=', begin);
  if (equals == std::string_view::npos) return plain;
  const std::size_t open = header.find_first_not_of(" \t", equals + 1);
  if (open == std::string_view::npos || header[open] != '"') return plain;
  const std::size_t close = header.find('"', open + 1);
  if (close == std::string_view::npos) return plain;
  const std::size_t after = std::min(header.find_first_not_of(" \t", close + 1), header.size());
  return after == header.size() || header[after] == ';' ? after : plain;
}

}  // namespace

bool AuthToken::expired(std::int64_t now_ms) const noexcept {
  return (max_inactive_ms != -1 && now_ms > max_inactive_ms) ||
         (expires_ms != -1 && now_ms > expires_ms);
}

Result<std::string> token_text(const AuthToken& token) {
  if (!fits_in_token(token.user) || !fits_in_token(token.principal) || !fits_in_token(token.type)) {
    return Error(ErrorKind::invalid_argument,
                 "The user name is empty or holds a character that a cookie cannot carry");
  }
  std::string text;
  text.reserve(64 + token.user.size() + token.principal.size() + token.type.size());
  text.append("u=").append(token.user);
  text.append("&p=").append(token.principal);
  text.append("&t=").append(token.type);
  if (token.max_inactive_ms != -1) text.append("&i=").append(std::to_string(token.max_inactive_ms));
  text.append("&e=").append(std::to_string(token.expires_ms));
  return text;
}

Result<std::string> sign_token(const AuthToken& token, SignerSecrets& secrets) {
  auto text = token_text(token);
  if (!text.ok()) return text;
  const auto mac = secrets.sign(*text);
  if (!mac.ok()) return mac.error();
  text->append(kSignaturePart).append(base64_encode(*mac));
  return text;
}

Result<AuthToken> verify_cookie(std::string_view value, std::string_view wanted_type,
                                std::int64_t now_ms, SignerSecrets& secrets) {
  value = without_quotes(value);
  if (value.empty()) return refused("Unauthorized access");
  const std::size_t split_at = value.rfind(kSignaturePart);
  if (split_at == std::string_view::npos) {
    return refused(std::string(kSignerException) +
                   "Invalid signed text: " + printable(value, kEchoedBytes));
  }
  const std::string_view text = value.substr(0, split_at);
  if (!secrets.verify(text, value.substr(split_at + kSignaturePart.size())))
    return refused(std::string(kSignerException) + "Invalid signature");
  auto token = parse_token(text);
  if (!token.ok()) return token;
  if (token->type != wanted_type) return refused("Invalid AuthenticationToken type");
  if (token->expired(now_ms)) return refused("AuthenticationToken expired");
  return token;
}

std::string set_cookie_header(std::string_view signed_value, std::int64_t expires_ms,
                              const CookieAttributes& attributes) {
  std::string header = "hadoop.auth=";
  if (signed_value.empty()) {
    expires_ms = 0;
  } else {
    header.append("\"").append(signed_value).append("\"");
  }
  if (!attributes.path.empty()) header.append("; Path=").append(attributes.path);
  if (!attributes.domain.empty()) header.append("; Domain=").append(attributes.domain);
  if (attributes.persistent && expires_ms >= 0) header.append(expires_attribute(expires_ms));
  if (attributes.secure) header.append("; Secure");
  header.append("; HttpOnly");
  return header;
}

bool find_auth_cookie(std::string_view cookie_header, std::string_view& value) {
  for (std::size_t begin = 0; begin < cookie_header.size();) {
    const std::size_t end = cookie_end(cookie_header, begin);
    const std::string_view cookie = cookie_header.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t equals = cookie.find('=');
    if (equals == std::string_view::npos || trimmed(cookie.substr(0, equals)) != "hadoop.auth")
      continue;
    value = trimmed(cookie.substr(equals + 1));
    return true;
  }
  return false;
}

}  // namespace kms
