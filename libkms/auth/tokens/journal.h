// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <variant>

#include "auth/tokens/token_store.h"
#include "core/bytes.h"
#include "core/secret.h"

// The bytes of the journal of FileTokenStore: a header, then records, each of which changes what
// was before. Numbers are big-endian; what is inside a record is coded as Writable.
//
//   header  64 bytes: "KMSTOKN1", five u64 (JournalHeader), checksum of them all
//   record  "KTRC", u32 size of the payload, payload (u8 type, fields), checksum of the record
//
// A checksum is the first 16 bytes of the SHA-256 of what stands before it. It finds what was torn
// or damaged; it does not keep out who may write the file.
namespace kms::tokens {

inline constexpr std::size_t kHeaderSize = 64;
inline constexpr std::size_t kMaxPayload = std::size_t{4} << 20;

struct JournalHeader {
  std::uint64_t id = 0;     // random; names this file
  std::uint64_t epoch = 0;  // one more than that of the file it replaced
  // Which file it replaced, and what length of that one its snapshot stands for; 0: it stands for
  // no certain state of another file.
  std::uint64_t previous_id = 0, previous_length = 0;
  std::uint64_t snapshot_length = kHeaderSize;  // header and the records it was made with
};

struct TokenAdded {
  TokenRecord token;
};
struct TokenRenewed {
  TokenIdentifier identifier;
  std::int64_t renew_ms;
};
struct TokenRemoved {
  TokenIdentifier identifier;
};
struct TokensPurged {  // those whose renew_ms is before
  std::int64_t before_ms;
};
struct KeyAdded {
  MasterKey key;
};
struct KeysDropped {  // those whose expires_ms is not after
  std::int64_t now_ms;
};
struct SequenceReached {
  std::int32_t sequence;
};
using Record = std::variant<TokenAdded, TokenRenewed, TokenRemoved, TokensPurged, KeyAdded,
                            KeysDropped, SequenceReached>;

std::array<std::uint8_t, kHeaderSize> encode_header(const JournalHeader& header);
// False when it is not whole or not what it should be.
bool parse_header(ByteView bytes, JournalHeader& header);
// Whether bytes begin as a journal of this version does, or end before that can be told.
bool has_magic(ByteView bytes);

Secret encode_record(const Record& record);
// The size that the record of a token or a key has.
std::size_t record_size(const TokenRecord& token);
std::size_t record_size(const MasterKey& key);

enum class FrameState {
  whole,
  incomplete,  // the bytes end before the record does
  damaged,
};
struct Frame {
  FrameState state = FrameState::damaged;
  std::size_t size = 0;  // of a whole one
  Record record;         // of a whole one
};
// The record at the front of bytes, which must not be empty.
Frame parse_record(ByteView bytes);

// Where the next whole record begins, or bytes.size().
std::size_t find_record(ByteView bytes);

}  // namespace kms::tokens
