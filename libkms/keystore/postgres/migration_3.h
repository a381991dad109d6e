// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace kms::postgres {

// More than one sealing key: the one that seals is current, others are trusted to open.
inline constexpr const char* kVersion3[] = {
    "ALTER TABLE kms_seal ADD COLUMN state text NOT NULL DEFAULT 'current'",
};

}  // namespace kms::postgres
