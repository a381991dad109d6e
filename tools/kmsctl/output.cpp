// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "audit/line.h"

namespace kmsctl {
namespace {

void put(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fputc('\n', stream);
}

// Characters, not bytes: what lines up on a terminal.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

void Output::line(std::string_view text) {
  if (!json_) put(stdout, text);
}

void Output::set(const char* name, json_t* value) {
  json_object_set_new(root_.get(), name, value);
}

void Output::set(const char* name, std::string_view value) {
  set(name, json_text(value));
}

void Output::note(std::string_view text) {
  if (!quiet_) put(stderr, text);
}

void Output::warning(std::string_view text) {
  warnings_.emplace_back(text);
  put(stderr, "kmsctl: warning: " + std::string(text));
}

void Output::error(std::string_view text) {
  set("error", text);
  put(stderr, "kmsctl: " + std::string(text));
}

bool Output::finish(int exit) {
  if (json_) {
    if (!warnings_.empty()) {
      json_t* list = json_array();
      for (const std::string& each : warnings_) json_array_append_new(list, json_text(each));
      set("warnings", list);
    }
    set("exit", json_integer(exit));
    char* text = json_dumps(root_.get(), JSON_INDENT(2));
    if (text == nullptr) return false;
    put(stdout, text);
    std::free(text);
  }
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

std::string shown(std::string_view text) {
  std::string out;
  kms::append_escaped(out, text);
  return out;
}

json_t* json_text(std::string_view text) {
  if (json_t* made = json_stringn(text.data(), text.size())) return made;
  return json_string(shown(text).c_str());  // it is no UTF-8
}

std::string local_time(std::int64_t ms) {
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm t{};
  char text[64];
  if (localtime_r(&seconds, &t) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &t) == 0)
    return std::to_string(ms);
  return text;
}

void Table::print(Output& out, std::string_view indent) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  for (const auto& row : rows_) {
    std::string line(indent);
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - width(row[i]) + 2, ' ');
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out.line(line);
  }
}

void StderrLogger::log(kms::LogLevel level, std::string_view id, std::string_view text) noexcept {
  const bool bad = level == kms::LogLevel::error || level == kms::LogLevel::warn;
  if (bad)
    out_.warning(std::string(id) + ": " + std::string(text));
  else if (all_)
    out_.note(std::string(id) + ": " + std::string(text));
}

}  // namespace kmsctl
