// SPDX-License-Identifier: Apache-2.0
// keystore verify, keystore repair: on the file, without a server.
#include "keystore_commands.h"

#include <mutex>
#include <optional>

#include "keystore/jceks/repair.h"
#include "keystore/jceks/verify.h"
#include "keystore_access.h"
#include "progress.h"

namespace kmsctl {
namespace {

using kms::jceks::Finding;
using kms::jceks::Inspection;
using Severity = Finding::Severity;

std::string_view severity_of(Severity severity) {
  constexpr std::string_view names[] = {"note", "warning", "error"};
  return names[static_cast<std::size_t>(severity)];
}

// The keystore that the command line means, and the file that it must be.
Result<KeystoreAccess> file_access(const Invocation& call) {
  auto conf = conf_of(call);
  if (!conf.ok()) return std::move(conf).error();
  auto access = keystore_access(*conf, call.arguments.empty() ? "" : call.arguments.front(),
                                call.get("password-file"));
  if (access.ok() && (access->path.empty() || !access->uri.starts_with("jceks:")))
    return Error(ErrorKind::configuration,
                 access->uri + ": is no keystore file that can be looked into");
  return access;
}

// Key derivation takes its time, so there is a bar.
template <typename Look>
auto with_bar(const KeystoreAccess& access, const Output& out, Look look) {
  std::mutex mutex;
  std::optional<Progress> bar;
  return look(access.path, access.password, [&](std::size_t total) {
    const std::lock_guard hold(mutex);
    if (!bar) bar.emplace(out, "entries", total);
    bar->step();
  });
}

int cannot_inspect(Invocation& call, const Error& error) {
  // A damaged file, or another password: that is the answer.
  const bool answer = error.kind == ErrorKind::corrupt || error.kind == ErrorKind::wrong_password;
  return answer ? call.fail(kNegative, error.message) : call.fail(error);
}

json_t* finding_json(const Finding& finding) {
  json_t* made = json_object();
  json_object_set_new(made, "severity", json_text(severity_of(finding.severity)));
  json_object_set_new(made, "code", json_text(finding.code));
  json_object_set_new(made, "entry", json_text(finding.entry));
  json_object_set_new(made, "text", json_text(finding.text));
  return made;
}

// All findings; how many are errors.
std::size_t report(const Inspection& found, Output& out) {
  std::size_t errors = 0;
  json_t* list = json_array();
  for (const Finding& finding : found.findings) {
    if (finding.severity == Severity::error) ++errors;
    json_array_append_new(list, finding_json(finding));
    if (finding.severity == Severity::note && out.quiet()) continue;
    const std::string entry = finding.entry.empty() ? "" : "'" + shown(finding.entry) + "' ";
    out.line(std::string(severity_of(finding.severity)) + ": " + entry + shown(finding.text) +
             " [" + std::string(finding.code) + "]");
  }
  out.set("findings", list);
  return errors;
}

json_t* number(std::size_t n) {
  return json_integer(static_cast<json_int_t>(n));
}

void report_steps(const kms::jceks::RepairPlan& plan, const char* what, Output& out) {
  json_t* steps = json_array();
  for (const auto& step : plan.steps) {
    out.line(std::string(what) + ": '" + shown(step.entry) + "' " + shown(step.text));
    json_t* one = json_object();
    json_object_set_new(one, "entry", json_text(step.entry));
    json_object_set_new(one, "text", json_text(step.text));
    json_array_append_new(steps, one);
  }
  out.set("steps", steps);
}

void report_lost(const std::vector<kms::jceks::ByteRange>& lost, Output& out) {
  json_t* list = json_array();
  for (const auto& range : lost) {
    out.line("error: bytes " + std::to_string(range.begin) + " to " + std::to_string(range.end) +
             " of the file are no entry");
    json_t* one = json_object();
    json_object_set_new(one, "begin", number(range.begin));
    json_object_set_new(one, "end", number(range.end));
    json_array_append_new(list, one);
  }
  out.set("lost", list);
}

// What is left of a damaged file, into a new one.
int run_salvage(Invocation& call, const KeystoreAccess& access) {
  auto wreck = with_bar(access, call.out, kms::jceks::salvage);
  if (!wreck.ok()) return cannot_inspect(call, wreck.error());
  report_lost(wreck->lost, call.out);
  const std::size_t errors = report(wreck->found, call.out);
  kms::jceks::RepairOptions options;
  options.drop_broken = true;
  auto plan = kms::jceks::plan_repair(wreck->found, access.password, options);
  if (!plan.ok()) return call.fail(plan.error());
  report_steps(*plan, "mended", call.out);
  const std::string fresh = call.get("salvage-to");
  auto written = kms::jceks::write_salvaged(access.path, fresh, *plan, access.password);
  if (!written.ok()) return call.fail(written.error());
  call.out.line(fresh + ": " + std::to_string(wreck->found.keys) + " keys and " +
                std::to_string(wreck->found.versions) + " versions of " + access.path +
                ", which is as it was");
  call.out.set("written", fresh);
  call.out.set("keys", number(wreck->found.keys));
  call.out.set("versions", number(wreck->found.versions));
  return errors > 0 || !wreck->lost.empty() ? kNegative : kOk;
}

}  // namespace

int run_keystore_verify(Invocation& call) {
  auto access = file_access(call);
  if (!access.ok()) return call.fail(access.error());
  auto found = with_bar(*access, call.out, kms::jceks::inspect);
  if (!found.ok()) return cannot_inspect(call, found.error());
  const std::size_t errors = report(*found, call.out);
  call.out.line(access->path + ": " + std::to_string(found->keys) + " keys, " +
                std::to_string(found->versions) + " versions, " +
                std::to_string(found->entries.size()) + " entries; " + std::to_string(errors) +
                " errors, " + std::to_string(found->findings.size() - errors) + " other findings");
  call.out.set("keystore", access->path);
  call.out.set("keys", number(found->keys));
  call.out.set("versions", number(found->versions));
  call.out.set("entries", number(found->entries.size()));
  return errors > 0 ? kNegative : kOk;
}

int run_keystore_repair(Invocation& call) {
  auto access = file_access(call);
  if (!access.ok()) return call.fail(access.error());
  if (call.has("salvage-to")) {
    if (call.has("apply")) return call.usage_error("--salvage-to and --apply exclude each other");
    return run_salvage(call, *access);
  }
  auto found = with_bar(*access, call.out, kms::jceks::inspect);
  if (!found.ok()) return cannot_inspect(call, found.error());
  report(*found, call.out);
  kms::jceks::RepairOptions options;
  options.drop_broken = call.has("drop-broken");
  auto plan = kms::jceks::plan_repair(*found, access->password, options);
  if (!plan.ok()) return call.fail(plan.error());
  report_steps(*plan, call.has("apply") ? "mended" : "would mend", call.out);
  if (plan->steps.empty()) {
    call.out.line(access->path + ": there is nothing that repair can mend");
    return kOk;
  }
  if (!call.has("apply")) {
    call.out.line(access->path + ": nothing was changed; --apply writes it, after a backup");
    return kNegative;
  }
  auto backup =
      kms::jceks::carry_out_repair(access->path, *found, *plan, access->password, options);
  if (!backup.ok()) return call.fail(backup.error());
  call.out.line(access->path + ": written; the file as it was: " + *backup);
  call.out.set("backup", *backup);
  return kOk;
}

}  // namespace kmsctl
