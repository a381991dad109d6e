// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "core/result.h"

namespace kms::jceks {

// The spelling under which a Java keystore looks a name up: String.toLowerCase(Locale.ENGLISH).
// Needs no memory of its own for lower-case ASCII, and none from the heap for short ASCII.
class FoldedAlias {
 public:
  explicit FoldedAlias(std::string_view name);
  FoldedAlias(const FoldedAlias&) = delete;
  FoldedAlias& operator=(const FoldedAlias&) = delete;
  std::string_view view() const noexcept { return view_; }

 private:
  std::array<char, 256> small_;
  std::string large_;
  std::string_view view_;
};

// Whether a key of this name may be made, in Java's words where Java says it. Versions are counted
// with ten digits, so that a key can always be rolled.
Result<void> check_new_name(std::string_view name);

}  // namespace kms::jceks
