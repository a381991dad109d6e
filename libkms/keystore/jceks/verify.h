// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file_io.h"
#include "core/result.h"
#include "core/secret.h"
#include "keystore/jceks/container.h"
#include "keystore/jceks/entry.h"

namespace kms::jceks {

// Something about an entry of a keystore file, or about the file.
struct Finding {
  enum class Severity {
    note,
    warning,  // nothing is lost, but somebody should look
    error,    // keys or versions cannot be used
  };
  Severity severity = Severity::warning;
  std::string_view code;  // stable: "no-current-version"; the list is in kmsctl(1)
  std::string entry;      // alias; empty: about the file
  std::string text;
};

// A keystore file whose every entry was opened.
struct Inspection {
  FileId file;
  std::vector<EntryPtr> entries;  // of duplicates the last, which is the one that counts
  std::size_t keys = 0, versions = 0;
  std::vector<Finding> findings;
};

// The base and the number of an alias NAME@N in the spelling that version names have; nullopt for
// any other alias.
struct NumberedAlias {
  std::string base;
  std::int32_t number;
};
std::optional<NumberedAlias> numbered_alias(std::string_view alias);

// Called by several threads, once for each entry that was opened; total is the number of entries.
using InspectionStep = std::function<void(std::size_t total)>;

// Reads the file, changes nothing. Opening costs the key derivation of each entry, so it is shared
// out to a few threads. Errors: io, corrupt, wrong_password as for a keystore that cannot be
// opened.
Result<Inspection> inspect(const std::string& path, const Secret& password,
                           const InspectionStep& step = {});

// A damaged file, as far as there are entries in it; its digest is not looked at. Errors: io, and
// corrupt when there is no entry that the password opens: then it may be the password.
struct Salvage {
  Inspection found;
  std::vector<ByteRange> lost;  // of the file
};
Result<Salvage> salvage(const std::string& path, const Secret& password,
                        const InspectionStep& step = {});

// Every code that a finding can have, for the documentation.
std::vector<std::string_view> finding_codes();

}  // namespace kms::jceks
