// SPDX-License-Identifier: Apache-2.0
// seal setup, trust, validate, settings, rewrap: the sealing keys of a key store in a database.
#include "seal_commands.h"

#include <optional>

#include "keystore/postgres/trustee_seal.h"
#include "progress.h"
#include "store_commands.h"

namespace kmsctl {
namespace {

json_t* number(std::int64_t n) {
  return json_integer(static_cast<json_int_t>(n));
}

void tell_problems(const std::vector<std::string>& problems, Output& out) {
  json_t* list = json_array();
  for (const std::string& problem : problems) {
    out.line("problem: " + shown(problem));
    json_array_append_new(list, json_text(problem));
  }
  out.set("problems", list);
}

json_t* json_of(const kms::SealReport::Key& key) {
  json_t* one = json_object();
  json_object_set_new(one, "id", json_text(key.id));
  json_object_set_new(one, "kind", json_text(key.kind));
  if (!key.label.empty()) json_object_set_new(one, "label", json_text(key.label));
  json_object_set_new(one, "created", number(key.created_ms));
  json_object_set_new(one, "rows", number(key.rows));
  json_object_set_new(one, "current", json_boolean(key.current));
  json_object_set_new(one, "configured", json_boolean(key.configured));
  return one;
}

int report(const kms::SealReport& found, Output& out) {
  Table table;
  json_t* sources = json_array();
  for (const kms::SealReport::Source& each : found.sources) {
    const std::string role = each.previous ? "previous" : "configured";
    table.row({role, each.kind, each.id.empty() ? "not trusted" : each.id, shown(each.name)});
    json_t* one = json_object();
    json_object_set_new(one, "role", json_text(role));
    json_object_set_new(one, "kind", json_text(each.kind));
    json_object_set_new(one, "name", json_text(each.name));
    json_object_set_new(one, "id", json_text(each.id));
    json_array_append_new(sources, one);
  }
  table.print(out);
  out.set("sources", sources);
  Table trusted;
  json_t* keys = json_array();
  for (const kms::SealReport::Key& each : found.keys) {
    trusted.row({each.current ? "seals" : "trusted", each.id, std::to_string(each.rows) + " rows",
                 "since " + local_time(each.created_ms), shown(each.label)});
    json_array_append_new(keys, json_of(each));
  }
  trusted.print(out);
  out.set("keys", keys);
  tell_problems(found.problems, out);
  return found.problems.empty() ? kOk : kNegative;
}

int report(Invocation& call, const Result<kms::SealReport>& found) {
  if (!found.ok()) return call.fail(const_cast<Result<kms::SealReport>&>(found).error());
  return report(*found, call.out);
}

// Both long works look alike: a store, a bar, what was found.
using Work = Result<kms::SealWork> (*)(const std::string&, const kms::TrusteeOptions&, kms::Logger&,
                                       const kms::SealStep&);
Result<kms::SealWork> work_on(Invocation& call, const char* what, Work work) {
  auto access = store_access(call, 0);
  if (!access.ok()) return std::move(access).error();
  StderrLogger logger(call.out);
  std::optional<Progress> bar;
  auto done = work(access->uri, access->trustee, logger, [&](std::int64_t total) {
    if (!bar) bar.emplace(call.out, what, static_cast<std::size_t>(total));
    bar->step();
  });
  return done;
}

void tell(const kms::SealWork& work, Output& out) {
  out.set("rows", number(work.rows));
  out.set("failed", number(work.failed));
  tell_problems(work.problems, out);
}

}  // namespace

int run_seal_setup(Invocation& call) {
  auto access = store_access(call, 0);
  if (!access.ok()) return call.fail(access.error());
  auto setup = kms::seal_setup(access->trustee);
  if (!setup.ok()) return call.fail(setup.error());
  call.out.line(shown(setup->what) + (setup->made ? ": made" : ": is there already"));
  call.out.set("key", setup->what);
  call.out.set("made", json_boolean(setup->made));
  return kOk;
}

int run_seal_settings(Invocation& call) {
  auto access = store_access(call, 0);
  if (!access.ok()) return call.fail(access.error());
  return report(call, kms::seal_settings(access->uri, access->trustee));
}

int run_seal_trust(Invocation& call) {
  auto access = store_access(call, 0);
  if (!access.ok()) return call.fail(access.error());
  const std::string id = call.get("remove");
  return report(call, id.empty() ? kms::trust_sealing_key(access->uri, access->trustee)
                                 : kms::distrust_sealing_key(access->uri, access->trustee, id));
}

int run_seal_validate(Invocation& call) {
  auto work = work_on(call, "rows", kms::validate_seals);
  if (!work.ok()) return call.fail(work.error());
  tell(*work, call.out);
  call.out.line(std::to_string(work->rows) + " rows opened, " + std::to_string(work->failed) +
                " problems");
  return work->failed == 0 ? kOk : kNegative;
}

int run_seal_rewrap(Invocation& call) {
  auto work = work_on(call, "rewrapped", kms::rewrap_seals);
  if (!work.ok()) return call.fail(work.error());
  tell(*work, call.out);
  call.out.set("left", number(work->left));
  call.out.set("id", work->id);
  call.out.line(work->id + " seals; " + std::to_string(work->rows) + " rows rewrapped, " +
                std::to_string(work->failed) + " that cannot be opened, " +
                std::to_string(work->left) + " sealed by other keys");
  return work->left == 0 ? kOk : kFailed;
}

}  // namespace kmsctl
