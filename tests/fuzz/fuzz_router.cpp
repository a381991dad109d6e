// SPDX-License-Identifier: Apache-2.0
// Path router and query parser: any bytes are a path and a query. What matches must be a clean
// name, and a name that is encoded again must lead to the same resource.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "rest/media.h"
#include "rest/path.h"
#include "rest/query.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kms::rest;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto question = input.find('?');
  const std::string_view path = input.substr(0, question);
  const auto match = match_path(path);
  if (match.ok() && match->has_value()) {
    const PathMatch& found = **match;
    if (!is_utf8_without_nul(found.name)) std::abort();
    if (found.resource == Resource::key_eek) {
      const auto again = match_path("/kms/v1/key/" + percent_encode(found.name) + "/_eek");
      if (!again.ok() || !again->has_value() || (*again)->name != found.name ||
          (*again)->resource != Resource::key_eek)
        std::abort();
    }
  }
  if (question != std::string_view::npos) {
    const std::string_view raw = input.substr(question + 1);
    const Query query(raw);
    (void)query.first("eek_op");
    (void)query.first_any_case("doAs");
    (void)query.all("key");
    (void)masked_query(raw);
  }
  (void)check_content_type(input);
  (void)accepts_json(input);
  return 0;
}
