// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/secret.h"

namespace kms::jceks {

// Text of a keystore. In files it is Java's modified UTF-8: NUL as C0 80, and a character beyond
// the BMP as its two surrogates. In memory it is UTF-8, except that an unpaired surrogate, which
// Java strings may hold, keeps its own 3-byte form (WTF-8), so that every alias of a file can be
// written back.

inline constexpr std::size_t kMaxUtfSize = 65535;  // a "utf" has a 16-bit length

// Reads as java.io.DataInput.readUTF does (overlong forms pass); nullopt for what Java refuses.
std::optional<std::string> from_modified_utf8(ByteView bytes);
bool is_modified_utf8(ByteView bytes) noexcept;

// Length and bytes of the modified form. The text must be UTF-8 or WTF-8.
std::size_t modified_utf8_size(std::string_view text) noexcept;
void append_modified_utf8(Bytes& out, std::string_view text);

// Strict UTF-8: no surrogates, nothing overlong, nothing above U+10FFFF.
bool is_utf8(std::string_view text) noexcept;
// Unpaired surrogates become U+FFFD.
std::string to_utf8(std::string_view wtf8);
// UTF-8 as Java decodes it: what is malformed becomes U+FFFD.
std::string repair_utf8(ByteView bytes);
// Appends one code point; a surrogate gets its 3-byte form.
void append_utf8(std::string& out, char32_t c);

// UTF-16BE of UTF-8 text, the form in which a password enters the digest. Bytes that are no UTF-8
// become U+FFFD, as in Java.
Secret utf16be(ByteView utf8);

}  // namespace kms::jceks
