// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

// Pieces of HTML. What comes from outside goes through escaped() or one of the functions that use
// it; nothing else writes text into a page.
namespace kms::html {

// Text for elements and quoted attributes: markup, quotes and control characters cannot get out,
// bytes that are no UTF-8 become U+FFFD.
std::string escaped(std::string_view text);

// A name that somebody chose: escaped, cut when it is longer than most characters, and kept apart
// from the direction of the text around it.
std::string name(std::string_view text, std::size_t most = 120);

// <time> of now_ms(), UTC; a dash for 0.
std::string time(std::int64_t ms);
// "3 d 4 h", "12 min", "5 s".
std::string span(std::int64_t ms);
// 1234567 as "1,234,567".
std::string number(std::uint64_t value);

// A table with a caption and headers; cells are HTML already.
class Table {
 public:
  struct Column {
    std::string_view title;
    bool numeric = false;
  };
  Table(std::string_view caption, std::vector<Column> columns);
  // cells: as many as columns; the first heads the row.
  void row(const std::vector<std::string>& cells);
  // empty: what to say instead of a table without rows.
  std::string finish(std::string_view empty) &&;

 private:
  std::vector<Column> columns_;
  std::string text_;
  bool any_ = false;
};

// Bars of one colour on a common base line, each with its text in the picture's own title; values
// are relative to the largest. Drawn without styles, so that a strict policy lets it through.
struct Bar {
  std::uint64_t value;
  std::string title;
};
std::string bars(const std::vector<Bar>& values, std::string_view label);

}  // namespace kms::html
