// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "unit.h"

namespace unit {

// A folder that goes away with the object.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kms-unit-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) _fail("mkdtemp", 0);
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  // Writes over the file in place; its folder is made. Gives the path.
  std::string write(const std::string& name, std::string_view text) const {
    const std::string file = path(name);
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.close();
    if (!out) _fail(file.c_str(), 0);
    return file;
  }

 private:
  std::string path_;
};

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

inline void assert_contains(std::string_view text, std::string_view part) {
  if (contains(text, part)) return;
  print_error("'%s' does not contain '%s'\n", std::string(text).c_str(), std::string(part).c_str());
  _fail("assert_contains", 0);
}

}  // namespace unit
