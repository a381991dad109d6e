// SPDX-License-Identifier: Apache-2.0
#include "migrate_output.h"

#include "keystore/migration_report.h"

namespace kmsctl {
namespace {

std::string_view state_text(kms::KeyMigration::State state) {
  constexpr std::string_view texts[] = {"copied",
                                        "updated:",
                                        "taken away",
                                        "would be copied",
                                        "would be updated:",
                                        "would be taken away",
                                        "already there",
                                        "another key of this name is there, it differs in",
                                        "failed:"};
  return texts[static_cast<std::size_t>(state)];
}

}  // namespace

MigrationTotals tell_keys(const std::map<std::string, kms::KeyMigration>& keys, Output& out) {
  MigrationTotals totals;
  json_t* list = json_array();
  for (const auto& [name, key] : keys) {
    ++totals.of[static_cast<std::size_t>(key.state)];
    const std::string text = key.text.empty() ? "" : " " + shown(key.text);
    out.line(shown(name) + ": " + std::string(state_text(key.state)) + text);
    json_t* one = json_object();
    json_object_set_new(one, "name", json_text(name));
    json_object_set_new(one, "state", json_text(kms::state_name(key.state)));
    if (!key.text.empty()) json_object_set_new(one, "text", json_text(key.text));
    json_array_append_new(list, one);
  }
  out.set("keys", list);
  return totals;
}

void tell_deleted(const std::vector<kms::DeletedKey>& deleted, Output& out) {
  json_t* list = json_array();
  for (const kms::DeletedKey& key : deleted) {
    const std::string& name = key.metadata->name;
    out.line(shown(name) + ": deleted in the source, not copied");
    json_array_append_new(list, json_text(name));
  }
  out.set("deleted_in_source", list);
}

}  // namespace kmsctl
