// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kms::rest {

// The parameters of a query string, decoded ('+' is a space), in order. Names are case-sensitive.
class Query {
 public:
  explicit Query(std::string_view raw);

  std::optional<std::string_view> first(std::string_view name) const;
  // As Hadoop looks for doAs: the name in any case.
  std::optional<std::string_view> first_any_case(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;

 private:
  struct Parameter {
    std::string name, value;
  };
  std::vector<Parameter> parameters_;
};

// Equal but for the case of ASCII letters.
bool same_letters(std::string_view a, std::string_view b);

// The query with the values of token, delegation and the like replaced, for logs.
std::string masked_query(std::string_view raw);

}  // namespace kms::rest
