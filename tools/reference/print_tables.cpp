// SPDX-License-Identifier: Apache-2.0
// Prints the tables that the code goes by as JSON: the directives of httpd, the properties of
// Hadoop, the routes of the REST API. make_reference.py writes the reference pages from it,
// check_docs.py compares.
#include <jansson.h>

#include <cstdio>
#include <memory>
#include <string>

#include "hadoop/settings.h"
#include "rest/routes.h"

namespace {

using kms::hadoop::find_known_property;
using kms::hadoop::known_properties;
using kms::hadoop::KnownProperty;
using kms::hadoop::PropertyKind;
using kms::hadoop::Treatment;

struct Row {
  const char *name, *context, *property, *syntax, *default_text, *description;
};

#define KMS_DIRECTIVE(name, context, setter, syntax, default_text, description) \
  {#name, #context, "", syntax, default_text, description},
#define KMS_PROPERTY(name, setter, property, syntax, description) \
  {#name, "server", property, syntax, "", description},

constexpr Row kDirectives[] = {
#include "directive_table.inc"
};

json_t* text(std::string_view value) {
  return json_stringn(value.empty() ? "" : value.data(), value.size());
}

// The default of a directive that stands for a property is that property's, as the directive says
// it.
std::string default_of(const Row& row) {
  if (*row.property == '\0') return row.default_text;
  const KnownProperty* known = find_known_property(row.property);
  if (known == nullptr) return "(no such property)";
  if (known->default_value.empty()) return "(none)";
  if (known->kind == PropertyKind::boolean) return known->default_value == "true" ? "On" : "Off";
  return std::string(known->default_value);
}

json_t* directives() {
  json_t* list = json_array();
  for (const Row& row : kDirectives) {
    json_t* one = json_object();
    json_object_set_new(one, "name", text(row.name));
    json_object_set_new(one, "context", text(row.context));
    json_object_set_new(one, "property", text(row.property));
    json_object_set_new(one, "syntax", text(row.syntax));
    json_object_set_new(one, "default", text(default_of(row)));
    json_object_set_new(one, "description", text(row.description));
    json_array_append_new(list, one);
  }
  return list;
}

const char* kind_name(PropertyKind kind) {
  switch (kind) {
    case PropertyKind::boolean:
      return "boolean";
    case PropertyKind::integer:
      return "integer";
    case PropertyKind::text:
      break;
  }
  return "text";
}

const char* treatment_name(Treatment treatment) {
  switch (treatment) {
    case Treatment::ignored:
      return "ignored";
    case Treatment::warned:
      return "warned";
    case Treatment::refused:
      return "refused";
    case Treatment::used:
      break;
  }
  return "used";
}

json_t* properties() {
  json_t* list = json_array();
  for (const KnownProperty& known : known_properties()) {
    json_t* one = json_object();
    json_object_set_new(one, "name", text(known.name));
    json_object_set_new(one, "kind", text(kind_name(known.kind)));
    json_object_set_new(one, "default", text(known.default_value));
    json_object_set_new(one, "treatment", text(treatment_name(known.treatment)));
    json_object_set_new(one, "note", text(known.note));
    if (known.min != 0 || known.max != 0) {
      json_object_set_new(one, "min", json_integer(known.min));
      json_object_set_new(one, "max", json_integer(known.max));
    }
    json_array_append_new(list, one);
  }
  return list;
}

json_t* routes() {
  json_t* list = json_array();
  for (const kms::rest::Route& route : kms::rest::routes()) {
    json_t* one = json_object();
    json_object_set_new(one, "method", text(route.method));
    json_object_set_new(one, "path", text(kms::rest::path_template(route.resource)));
    json_array_append_new(list, one);
  }
  return list;
}

}  // namespace

int main() {
  const std::unique_ptr<json_t, decltype(&json_decref)> all(json_object(), json_decref);
  json_object_set_new(all.get(), "directives", directives());
  json_object_set_new(all.get(), "properties", properties());
  json_object_set_new(all.get(), "routes", routes());
  if (json_dumpf(all.get(), stdout, JSON_INDENT(1)) != 0 || std::puts("") < 0) return 1;
  return 0;
}
