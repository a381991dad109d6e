// SPDX-License-Identifier: Apache-2.0
// The journal of delegation tokens. Input is taken as the bytes of a file, and as the contents of
// records with a fitting checksum: what can be read leads to a table whose snapshot leads to the
// same table, and reading it twice to nothing else.
#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "auth/tokens/journal.h"
#include "auth/tokens/token_table.h"

namespace {

using namespace kms;
using namespace kms::tokens;

void require(bool condition) {
  if (!condition) std::abort();
}

// Applies the records that are whole, as a rescue does.
void apply_all(ByteView bytes, TokenTable& table, std::vector<TokenIdentifier>& seen) {
  while (!bytes.empty()) {
    Frame frame = parse_record(bytes);
    if (frame.state != FrameState::whole) {
      const std::size_t next = find_record(bytes);
      require(next <= bytes.size());
      if (next == bytes.size()) return;
      bytes = bytes.subspan(next);
      frame = parse_record(bytes);
      require(frame.state == FrameState::whole);
    }
    require(frame.size <= bytes.size());
    const Secret again = encode_record(frame.record);
    require(std::ranges::equal(again.view(), bytes.first(frame.size)) ||
            parse_record(again.view()).state == FrameState::whole);
    if (const auto* added = std::get_if<TokenAdded>(&frame.record)) {
      require(record_size(added->token) == again.size());
      seen.push_back(added->token.identifier);
    }
    table.apply(std::move(frame.record));
    bytes = bytes.subspan(frame.size);
  }
}

void require_same(const TokenTable& a, const TokenTable& b,
                  const std::vector<TokenIdentifier>& ids) {
  require(a.size() == b.size() && a.keys().size() == b.keys().size());
  for (const TokenIdentifier& id : ids) {
    const TokenPtr mine = a.find(id), other = b.find(id);
    require((mine == nullptr) == (other == nullptr));
    if (mine == nullptr) continue;
    require(mine->renew_ms == other->renew_ms && mine->password.equals(other->password.view()));
    require(a.has_sequence(id.sequence));
  }
  for (const auto& [id, key] : a.keys()) {
    const auto it = b.keys().find(id);
    require(it != b.keys().end() && it->second->expires_ms == key->expires_ms &&
            it->second->secret.equals(key->secret.view()));
  }
}

void check(ByteView bytes) {
  TokenTable table, from_snapshot;
  std::vector<TokenIdentifier> ids, ignored;
  apply_all(bytes, table, ids);
  Secret snapshot(table.snapshot_size());
  table.write_snapshot(snapshot.data());
  apply_all(snapshot.view(), from_snapshot, ignored);
  require_same(table, from_snapshot, ids);
  require(from_snapshot.snapshot_size() == snapshot.size());
  // A reader that was interrupted begins again from where it was.
  apply_all(bytes, table, ids);
  require_same(table, from_snapshot, ids);
}

// Records whose contents are the pieces of input, each with its length before it.
Bytes framed(ByteView input) {
  Bytes out;
  while (input.size() > 1) {
    const std::size_t size = std::min<std::size_t>(input[0], input.size() - 1);
    const ByteView payload = input.subspan(1, size);
    input = input.subspan(1 + size);
    const std::size_t start = out.size();
    for (const char c : {'K', 'T', 'R', 'C', '\0', '\0', '\0'})
      out.push_back(static_cast<std::uint8_t>(c));
    out.push_back(static_cast<std::uint8_t>(size));
    out.insert(out.end(), payload.begin(), payload.end());
    std::uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    require(EVP_Digest(out.data() + start, out.size() - start, digest, &length, EVP_sha256(),
                       nullptr) == 1);
    out.insert(out.end(), digest, digest + 16);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  JournalHeader header;
  if (parse_header(bytes, header)) {
    require(has_magic(bytes));
    const auto again = encode_header(header);
    require(std::ranges::equal(again, bytes.first(kHeaderSize)));
    check(bytes.subspan(kHeaderSize));
  }
  check(bytes);
  check(framed(bytes));
  return 0;
}
