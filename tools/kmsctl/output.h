// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <jansson.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "hadoop/wire_json.h"

namespace kmsctl {

using kms::hadoop::JsonPtr;

// Where a command says what it found: lines for people on stdout, or with --json one object. Errors
// and warnings go to stderr, with --json into the object as well.
class Output {
 public:
  void set_json(bool json) { json_ = json; }
  void set_quiet(bool quiet) { quiet_ = quiet; }
  bool json() const { return json_; }
  bool quiet() const { return quiet_; }

  // A line of the answer; nothing with --json.
  void line(std::string_view text);
  // A member of the answer; nothing without --json. Takes the reference.
  void set(const char* name, json_t* value);
  void set(const char* name, std::string_view value);
  // Beside the answer, on stderr: not with --quiet.
  void note(std::string_view text);
  void warning(std::string_view text);
  void error(std::string_view text);

  // Writes what is left and says whether everything could be written.
  bool finish(int exit);

 private:
  bool json_ = false, quiet_ = false;
  JsonPtr root_{json_object()};
  std::vector<std::string> warnings_;
};

// Text of a stranger for one line on a terminal: control characters escaped.
std::string shown(std::string_view text);
json_t* json_text(std::string_view text);
// "2026-11-24 11:42:21 +0000", local time.
std::string local_time(std::int64_t ms);

// Columns, as wide as their widest cell; the last one is not padded.
class Table {
 public:
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void print(Output& out, std::string_view indent = "") const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Messages of libkms go to stderr, those below warn only on request.
class StderrLogger final : public kms::Logger {
 public:
  explicit StderrLogger(Output& out, bool all = false) : out_(out), all_(all) {}
  void log(kms::LogLevel level, std::string_view id, std::string_view text) noexcept override;

 private:
  Output& out_;
  const bool all_;
};

}  // namespace kmsctl
