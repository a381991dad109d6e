// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace kms::jceks {

// The file format around the entries (jceks.md (a)).

enum class EntryTag : std::uint32_t { private_key = 1, certificate = 2, secret_key = 3 };

// One entry: what follows its date is the body, never looked into here but to find its end.
struct RawEntry {
  EntryTag tag = EntryTag::secret_key;
  std::string alias;  // WTF-8
  std::int64_t date_ms = 0;
  Bytes body;  // in the form of JCEKS version 2, whatever the file was
};

struct Container {
  std::vector<RawEntry>
      entries;  // in the order of the file; a later one replaces an earlier of its name
  std::size_t body_size = 0;  // bytes before the digest
};

// Structure only: finds every entry and the digest, opens nothing. Errors: corrupt.
Result<Container> parse_structure(ByteView file);

// parse_structure, then the digest. Errors: corrupt as above; wrong_password when the digest
// differs, be it for a damaged file or for a wrong password.
Result<Container> parse_container(ByteView file, ByteView password);

// Bytes of a file from begin up to end.
struct ByteRange {
  std::size_t begin, end;
};

// What can be found of a file that is damaged: entries one after the other, and behind bytes that
// are none the next secret key.
struct Wreck {
  std::vector<RawEntry> entries;  // in the order of the file
  std::vector<ByteRange> lost;    // bytes that are no entry, header and digest apart
};
Wreck search_entries(ByteView file);

// Writes JCEKS version 2.
class ContainerWriter {
 public:
  explicit ContainerWriter(std::uint32_t entries, std::size_t size_hint);
  void add(EntryTag tag, std::string_view alias, std::int64_t date_ms, ByteView body);
  Result<Bytes> finish(ByteView password);

 private:
  Bytes out_;
};

}  // namespace kms::jceks
