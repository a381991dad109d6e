// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "core/secret.h"

namespace kms {

// What tells one state of a file from another without reading it; all 0 where there is none. A
// change of owner or mode counts, as it may be what makes the file readable.
struct FileStamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified_ns = 0, changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};
FileStamp stamp_of(const std::string& path);

// A signature secret file as Java takes it, see read_signature_secret.
struct SecretFile {
  Secret secret;
  std::string problem;  // empty when the secret is good
  int error = 0;        // errno of the problem, 0 where the content is the problem
  bool good() const { return problem.empty(); }
};
SecretFile read_secret_file(const std::string& path);

}  // namespace kms
