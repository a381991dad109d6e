// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include <memory>
#include <string>

#include "core/result.h"

namespace kms::pkcs11 {

// Which token is meant: an RFC 7512 URI with attributes of the token only. Slots have no place in
// it, as their numbers change when a token comes or goes.
class TokenAddress {
 public:
  // Errors (configuration): no such URI, an attribute of something else, one with a PIN in it.
  static Result<TokenAddress> parse(const std::string& uri);

  bool matches(const CK_TOKEN_INFO& info) const {
    return p11_kit_uri_match_token_info(uri_.get(), const_cast<CK_TOKEN_INFO*>(&info)) != 0;
  }
  const std::string& text() const noexcept { return text_; }

 private:
  TokenAddress(P11KitUri* uri, std::string text) : uri_(uri, p11_kit_uri_free), text_(text) {}
  std::shared_ptr<P11KitUri> uri_;
  std::string text_;
};

// Text of a field that PKCS#11 pads with blanks.
std::string padded_text(const CK_UTF8CHAR* text, std::size_t size);

}  // namespace kms::pkcs11
