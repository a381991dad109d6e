// SPDX-License-Identifier: Apache-2.0
#include "metrics/jmx.h"

#include <jansson.h>

#include "hadoop/wire_json.h"
#include "metrics/jmx_beans.h"
#include "metrics/object_name.h"

namespace kms {
namespace {

using hadoop::JsonPtr;

std::string dump(const JsonPtr& root) {
  return hadoop::dump_json(root.get()) + "\n";
}

JsonPtr with_error(JsonPtr object, const std::string& message) {
  json_object_set_new(object.get(), "result", json_string("ERROR"));
  json_object_set_new(object.get(), "message", json_string(message.c_str()));
  return object;
}

// Of a bean its name, its type and this attribute.
JsonPtr only(const json_t* bean, const std::string& attribute) {
  JsonPtr part(json_object());
  for (const char* name : {"name", "modelerType"})
    json_object_set(part.get(), name, json_object_get(bean, name));
  if (json_t* value = json_object_get(bean, attribute.c_str()); value != nullptr) {
    json_object_set(part.get(), attribute.c_str(), value);
    return part;
  }
  return with_error(std::move(part), "No attribute with name " + attribute + " was found.");
}

}  // namespace

std::string jmx_json(const JmxRequest& request) {
  JsonPtr root(json_object());
  std::string attribute;
  std::string_view pattern_text = request.query.value_or("*:*");
  if (request.get.has_value()) {
    const auto colons = request.get->find("::");
    const bool two = colons != std::string_view::npos && colons + 2 < request.get->size() &&
                     request.get->find("::", colons + 2) == std::string_view::npos;
    if (!two) return dump(with_error(std::move(root), "query format is not as expected."));
    pattern_text = request.get->substr(0, colons);
    attribute = request.get->substr(colons + 2);
  }
  const auto pattern = ObjectName::parse(pattern_text);
  if (!pattern.has_value()) return dump(root);

  const JsonPtr all = jmx_beans(request);
  json_t* shown = json_array();
  json_object_set_new(root.get(), "beans", shown);
  const std::size_t count = json_array_size(all.get());
  for (std::size_t i = 0; i < count; ++i) {
    json_t* bean = json_array_get(all.get(), i);
    const auto name = ObjectName::parse(json_string_value(json_object_get(bean, "name")));
    if (!name.has_value() || !pattern->matches(*name)) continue;
    if (attribute.empty()) {
      json_array_append(shown, bean);
      continue;
    }
    JsonPtr part = only(bean, attribute);
    const bool missing = json_object_get(part.get(), "result") != nullptr;
    json_array_append_new(shown, part.release());
    if (missing) break;  // as Java
  }
  return dump(root);
}

}  // namespace kms
