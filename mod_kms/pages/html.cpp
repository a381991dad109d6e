// SPDX-License-Identifier: Apache-2.0
#include "pages/html.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "core/utf8.h"

namespace kms::html {
namespace {

// Characters that change how others are read, or that a reader takes for the end of a line: shown
// by their number, as in the audit log.
bool is_disguise(char32_t c) {
  return (c >= 0x80 && c <= 0x9f) || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0x61c;
}

void append_character(std::string& out, std::string_view character) {
  if (character.size() > 1) {
    const char32_t c = utf8_character(as_bytes(character));
    if (!is_disguise(c)) {
      out += character;
      return;
    }
    char number[16];
    std::snprintf(number, sizeof number, "\\u%04x", static_cast<unsigned>(c));
    out += number;
    return;
  }
  switch (const char c = character.front()) {
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '&':
      out += "&amp;";
      break;
    case '"':
      out += "&quot;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        out += "\xef\xbf\xbd";
      else
        out += c;
  }
}

// most characters of text; true when there were more.
bool append_escaped(std::string& out, std::string_view text, std::size_t most) {
  for (std::size_t i = 0; !text.empty(); ++i) {
    if (i == most) return true;
    const Utf8Step step = utf8_step(as_bytes(text));
    append_character(out, step.well_formed ? text.substr(0, step.length) : "\xef\xbf\xbd");
    text.remove_prefix(step.length);
  }
  return false;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  append_escaped(out, text, text.size() + 1);
  return out;
}

std::string name(std::string_view text, std::size_t most) {
  std::string out = "<bdi class=\"name\">";
  const bool cut = append_escaped(out, text, most);
  out += "</bdi>";
  if (cut)
    out += "\xe2\x80\xa6 <span class=\"dim\">(" + std::to_string(text.size()) + " bytes)</span>";
  return out;
}

std::string time(std::int64_t ms) {
  if (ms == 0) return "\xe2\x80\x93";
  const auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm t{};
  gmtime_r(&seconds, &t);
  char machine[32], people[32];
  std::strftime(machine, sizeof machine, "%Y-%m-%dT%H:%M:%SZ", &t);
  std::strftime(people, sizeof people, "%Y-%m-%d %H:%M:%S UTC", &t);
  return std::string("<time datetime=\"") + machine + "\">" + people + "</time>";
}

std::string span(std::int64_t ms) {
  const std::int64_t s = std::max<std::int64_t>(ms, 0) / 1000;
  const auto two = [](std::int64_t a, const char* unit_a, std::int64_t b, const char* unit_b) {
    std::string text = std::to_string(a) + unit_a;
    if (b > 0) text += " " + std::to_string(b) + unit_b;
    return text;
  };
  if (s >= 86400) return two(s / 86400, " d", s % 86400 / 3600, " h");
  if (s >= 3600) return two(s / 3600, " h", s % 3600 / 60, " min");
  if (s >= 60) return two(s / 60, " min", s % 60, " s");
  return std::to_string(s) + " s";
}

std::string number(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ',');
  return text;
}

Table::Table(std::string_view caption, std::vector<Column> columns) : columns_(std::move(columns)) {
  text_ = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + escaped(caption) +
          "\"><table><caption>" + escaped(caption) + "</caption><thead><tr>";
  for (const Column& column : columns_) {
    text_ += column.numeric ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">";
    text_ += escaped(column.title) + "</th>";
  }
  text_ += "</tr></thead><tbody>\n";
}

void Table::row(const std::vector<std::string>& cells) {
  any_ = true;
  text_ += "<tr>";
  for (std::size_t i = 0; i < cells.size() && i < columns_.size(); ++i) {
    const char* numeric = columns_[i].numeric ? " class=\"n\">" : ">";
    text_ += (i == 0 ? "<th scope=\"row\"" : "<td") + std::string(numeric) + cells[i] +
             (i == 0 ? "</th>" : "</td>");
  }
  text_ += "</tr>\n";
}

std::string Table::finish(std::string_view empty) && {
  if (!any_) return "<p class=\"none\">" + escaped(empty) + "</p>\n";
  return text_ + "</tbody></table></div>\n";
}

std::string bars(const std::vector<Bar>& values, std::string_view label) {
  constexpr std::uint64_t kWidth = 7, kGap = 1, kHeight = 28;
  std::uint64_t most = 1;
  for (const Bar& bar : values) most = std::max(most, bar.value);
  const std::string width = std::to_string(values.size() * (kWidth + kGap));
  std::string out = "<svg role=\"img\" aria-label=\"" + escaped(label) + "\" width=\"" + width +
                    "\" height=\"" + std::to_string(kHeight + 1) + "\" viewBox=\"0 0 " + width +
                    " " + std::to_string(kHeight + 1) + "\"><title>" + escaped(label) + "</title>";
  out += "<rect class=\"base\" x=\"0\" y=\"" + std::to_string(kHeight) + "\" width=\"" + width +
         "\" height=\"1\"/>";
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].value == 0) continue;
    const std::uint64_t height = std::max<std::uint64_t>(1, values[i].value * kHeight / most);
    out += "<rect class=\"bar\" x=\"" + std::to_string(i * (kWidth + kGap)) + "\" y=\"" +
           std::to_string(kHeight - height) + "\" width=\"" + std::to_string(kWidth) +
           "\" height=\"" + std::to_string(height) + "\"><title>" + escaped(values[i].title) +
           "</title></rect>";
  }
  return out + "</svg>";
}

}  // namespace kms::html
