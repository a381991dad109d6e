// SPDX-License-Identifier: Apache-2.0
#include "metadata_file.h"

namespace kmsctl {
namespace {

constexpr const char* kAclName = "key.acl.name";

Error bad(const std::string& path, const std::string& text) {
  return Error(ErrorKind::io, path + ": " + text);
}

}  // namespace

Result<JsonPtr> read_metadata_file(const std::string& path) {
  json_error_t error;
  JsonPtr file(path == "-" ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error)
                           : json_load_file(path.c_str(), JSON_REJECT_DUPLICATES, &error));
  if (file == nullptr)
    return bad(path, (error.line > 0 ? "line " + std::to_string(error.line) + ": " : "") +
                         std::string(error.text));
  const char* format = json_string_value(json_object_get(file.get(), "format"));
  if (format == nullptr || std::string_view(format) != kMetadataFormat)
    return bad(path, std::string("\"format\" is not \"") + kMetadataFormat + "\"");
  const json_t* keys = json_object_get(file.get(), "keys");
  if (!json_is_array(keys)) return bad(path, "\"keys\" is no array");
  for (std::size_t i = 0; i < json_array_size(keys); ++i) {
    const json_t* name = json_object_get(json_array_get(keys, i), "name");
    if (!json_is_string(name) || json_string_length(name) == 0)
      return bad(path, "\"keys\", element " + std::to_string(i) + ": no \"name\"");
  }
  return file;
}

Result<std::map<std::string, std::string>> read_acl_names(const std::string& path) {
  auto file = read_metadata_file(path);
  if (!file.ok()) return std::move(file).error();
  std::map<std::string, std::string> names;
  const json_t* keys = json_object_get(file->get(), "keys");
  for (std::size_t i = 0; i < json_array_size(keys); ++i) {
    const json_t* key = json_array_get(keys, i);
    const char* name =
        json_string_value(json_object_get(json_object_get(key, "attributes"), kAclName));
    if (name != nullptr && *name != '\0')
      names[json_string_value(json_object_get(key, "name"))] = name;
  }
  return names;
}

}  // namespace kmsctl
