// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <jansson.h>

#include <memory>
#include <string>

#include "unit.h"

namespace unit {

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

inline Json load_json(const std::string& name) {
  json_error_t error;
  Json loaded(json_load_file(data_path(name).c_str(), 0, &error));
  if (!loaded) _fail(error.text, error.line);
  return loaded;
}

// The entries of a section, which are as many as that: a test says what it has seen all of.
// tests/checks/check_vectors.py compares the numbers with the files and looks for sections that no
// test has.
inline const json_t* section(const Json& file, const char* name, std::size_t count) {
  const json_t* entries = json_object_get(file.get(), name);
  assert_int_equal(json_array_size(entries), count);
  return entries;
}

// A string member, or what is given for one that is absent or null.
inline std::string text_of(const json_t* object, const char* name, const char* otherwise = "") {
  const char* text = json_string_value(json_object_get(object, name));
  return text != nullptr ? text : otherwise;
}

}  // namespace unit
