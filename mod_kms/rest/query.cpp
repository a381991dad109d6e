// SPDX-License-Identifier: Apache-2.0
#include "rest/query.h"

#include <strings.h>

#include "rest/path.h"

namespace kms::rest {
namespace {

template <class F>
void for_each_piece(std::string_view raw, F&& use) {
  while (!raw.empty()) {
    const auto end = raw.find('&');
    const std::string_view piece = raw.substr(0, end);
    raw = end == std::string_view::npos ? std::string_view() : raw.substr(end + 1);
    if (!piece.empty()) use(piece);
  }
}

}  // namespace

bool same_letters(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

Query::Query(std::string_view raw) {
  for_each_piece(raw, [this](std::string_view piece) {
    const auto equals = piece.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : piece.substr(equals + 1);
    parameters_.push_back(
        {percent_decode(piece.substr(0, equals), true), percent_decode(value, true)});
  });
}

std::optional<std::string_view> Query::first(std::string_view name) const {
  for (const Parameter& p : parameters_)
    if (p.name == name) return std::string_view(p.value);
  return std::nullopt;
}

std::optional<std::string_view> Query::first_any_case(std::string_view name) const {
  for (const Parameter& p : parameters_)
    if (same_letters(p.name, name)) return std::string_view(p.value);
  return std::nullopt;
}

std::vector<std::string_view> Query::all(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const Parameter& p : parameters_)
    if (p.name == name) found.push_back(p.value);
  return found;
}

std::string masked_query(std::string_view raw) {
  std::string out;
  for_each_piece(raw, [&out](std::string_view piece) {
    if (!out.empty()) out += '&';
    const auto equals = piece.find('=');
    const std::string name = percent_decode(piece.substr(0, equals), true);
    const bool secret = same_letters(name, "delegation") || same_letters(name, "token");
    if (secret && equals != std::string_view::npos) {
      out += piece.substr(0, equals + 1);
      out += "...";
    } else {
      out += piece;
    }
  });
  return out;
}

}  // namespace kms::rest
