// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/file_io.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/jceks/entry.h"

namespace kms::jceks {

struct AliasHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept {
    return std::hash<std::string_view>{}(s);
  }
};

// Aliases and entries of one state of the keystore file. Immutable once it is published.
struct Snapshot {
  using Map = std::unordered_map<std::string, EntryPtr, AliasHash, std::equal_to<>>;
  Map entries;
  FileId file;  // the state of the file it was read from or written to

  // alias must be folded already.
  const Entry* find(std::string_view alias) const {
    const auto it = entries.find(alias);
    return it == entries.end() ? nullptr : it->second.get();
  }
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

// Makes a snapshot of the bytes of a keystore. Entries that old has with the same sealed bytes are
// shared with it, so that they need not be opened again. Errors: corrupt, wrong_password.
Result<SnapshotPtr> parse_snapshot(const LoadedFile& file, const Secret& password,
                                   const Snapshot* old);

// The bytes of a keystore with these entries.
Result<Bytes> encode_snapshot(const Snapshot::Map& entries, const Secret& password);

}  // namespace kms::jceks
