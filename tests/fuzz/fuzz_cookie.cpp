// SPDX-License-Identifier: Apache-2.0
// Cookie headers and cookie values: nothing but what was signed is accepted, what is signed comes
// back as it was, and no reason phrase can end a header line.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "auth/cookie.h"
#include "auth/signer.h"
#include "core/secret.h"
#include "crypto/base64.h"

namespace {

using namespace kms;

constexpr std::int64_t kNow = 1700000000000;

SignerSecrets& signer() {
  static const auto fixed = make_fixed_signer(Secret(std::string_view("a secret for the fuzzer")));
  return *fixed;
}

void require(bool condition) {
  if (!condition) std::abort();
}

Result<AuthToken> verify(std::string_view value) {
  auto token = verify_cookie(value, "simple-dt", kNow, signer());
  if (!token.ok()) {
    const std::string& reason = token.error().message;
    require(!reason.empty() && reason.size() < 256 &&
            std::none_of(reason.begin(), reason.end(), [](char c) { return c < ' ' || c > '~'; }));
  }
  return token;
}

// Through Set-Cookie, the client, Cookie and back.
void round_trip(const AuthToken& token) {
  const auto value = sign_token(token, signer());
  if (!value.ok()) {
    require(value.error().kind == ErrorKind::invalid_argument);
    return;
  }
  const std::string set = set_cookie_header(*value, token.expires_ms, {"/kms", "", true, true});
  const std::string header = "a=b; " + set + "; hadoop.auth=other";
  std::string_view found;
  require(find_auth_cookie(header, found));
  const auto back = verify_cookie(found, token.type, kNow, signer());
  require(back.ok() != token.expired(kNow));
  if (!back.ok()) return;
  require(back->user == token.user && back->principal == token.principal &&
          back->expires_ms == token.expires_ms && back->max_inactive_ms == token.max_inactive_ms);
}

// Reaches the parser behind the signature, as a peer with the secret could.
void parse_signed(std::string_view text) {
  const auto mac = signer().sign(text);
  require(mac.ok());
  std::string value = std::string(text) + "&s=" + base64_encode(*mac);
  const auto token = verify(value);
  if (token.ok()) round_trip(*token);
  if (text.empty()) return;
  value[text.size() / 2] = static_cast<char>(value[text.size() / 2] ^ 0x20);
  require(!verify(value).ok());
}

std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string_view value;
  if (find_auth_cookie(input, value)) {
    require(value.empty() || (value.data() >= input.data() &&
                              value.data() + value.size() <= input.data() + input.size()));
    (void)verify(value);
  }
  require(!verify(input).ok() || input.find("&s=") != std::string_view::npos);
  parse_signed(input);

  std::string_view rest = input;
  AuthToken token;
  token.user = take_line(rest);
  token.principal = take_line(rest);
  token.type = take_line(rest);
  token.expires_ms = rest.size() % 2 == 0 ? -1 : kNow + static_cast<std::int64_t>(rest.size());
  token.max_inactive_ms = rest.size() % 3 == 0 ? -1 : kNow;
  round_trip(token);
  return 0;
}
