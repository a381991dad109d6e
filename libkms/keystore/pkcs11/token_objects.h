// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/result.h"
#include "pkcs11/token.h"

// What stores of keys in a token ask of a new key, and do with its object.
namespace kms::pkcs11 {

Error refused_material();
// AES of a length that there is. Errors: unsupported; with the words of the JDK's key generators
// where they have some.
Result<void> check_kind(const std::string& cipher, std::int32_t bits);
// Whether keys can be changed now. Errors: unsupported, unavailable.
Result<void> able_to_change(const Token& token, bool check_only);

// Each is one piece of work of the token. Errors: unavailable.
Result<void> make_object(Token& token, KeyRef& key);
// Of one that was made, if ever, before the moment. CKR_OK; kKeyMissing: there is none;
// kKeyDiffers: somebody else's object has the id.
Result<CK_RV> destroy_object(Token& token, const std::string& id, const std::string& label,
                             Token::Moment since);
// As this process sees it now, which may be less than there is.
Result<bool> sees_object(Token& token, const std::string& id);

}  // namespace kms::pkcs11
