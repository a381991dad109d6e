// SPDX-License-Identifier: Apache-2.0
// hsm status, hsm reconcile, hsm doctor: the token and the file of metadata, without a server.
#include "hsm_commands.h"

#include <algorithm>

#include "hsm_adoption.h"

namespace kmsctl {
namespace {

using kms::pkcs11::Finding;
using kms::pkcs11::StoreOptions;
using kms::pkcs11::TokenReport;

const char* word_of(Finding::Kind kind) {
  constexpr const char* words[] = {"good",    "missing", "differs",  "pending", "orphan",
                                   "foreign", "outside", "software", "late"};
  return words[static_cast<std::size_t>(kind)];
}

std::size_t count(const TokenReport& report, Finding::Kind kind) {
  return static_cast<std::size_t>(
      std::count_if(report.findings.begin(), report.findings.end(),
                    [&](const Finding& each) { return each.kind == kind; }));
}

bool is_trouble(Finding::Kind kind) {
  return kind != Finding::Kind::good && kind != Finding::Kind::foreign &&
         kind != Finding::Kind::outside && kind != Finding::Kind::software;
}

void tell_facts(const TokenReport& report, Output& out) {
  Table table;
  json_t* facts = json_object();
  for (const auto& [name, value] : report.facts) {
    table.row({name, shown(value)});
    json_object_set_new(facts, name.c_str(), json_text(value));
  }
  table.print(out);
  out.set("facts", facts);
}

void tell_findings(const TokenReport& report, bool all, Output& out) {
  Table table;
  json_t* list = json_array();
  for (const Finding& each : report.findings) {
    if (!all && !is_trouble(each.kind)) continue;
    table.row({word_of(each.kind), each.id, shown(each.label), shown(each.what)});
    json_t* one = json_object();
    json_object_set_new(one, "kind", json_string(word_of(each.kind)));
    json_object_set_new(one, "id", json_text(each.id));
    json_object_set_new(one, "label", json_text(each.label));
    json_object_set_new(one, "text", json_text(each.what));
    json_array_append_new(list, one);
  }
  table.print(out);
  out.set("findings", list);
  for (const auto kind : {Finding::Kind::good, Finding::Kind::missing, Finding::Kind::differs,
                          Finding::Kind::pending, Finding::Kind::orphan, Finding::Kind::foreign,
                          Finding::Kind::outside, Finding::Kind::software, Finding::Kind::late})
    out.set(word_of(kind), json_integer(static_cast<json_int_t>(count(report, kind))));
  out.line(std::to_string(count(report, Finding::Kind::good)) + " versions usable, " +
           std::to_string(count(report, Finding::Kind::missing)) + " missing in the token, " +
           std::to_string(count(report, Finding::Kind::differs)) + " with another object, " +
           std::to_string(count(report, Finding::Kind::pending)) + " pending, " +
           std::to_string(count(report, Finding::Kind::orphan)) + " orphans, " +
           std::to_string(count(report, Finding::Kind::foreign)) + " keys of others, " +
           std::to_string(count(report, Finding::Kind::outside)) + " versions outside, " +
           std::to_string(count(report, Finding::Kind::software)) + " in the database, " +
           std::to_string(count(report, Finding::Kind::late)) + " late in the previous keystore");
}

int verdict(const TokenReport& report) {
  return std::any_of(report.findings.begin(), report.findings.end(),
                     [](const Finding& each) { return is_trouble(each.kind); })
             ? kNegative
             : kOk;
}

int report_on(Invocation& call, const StoreOptions& options, bool facts, bool all) {
  StderrLogger logger(call.out);
  auto report = kms::pkcs11::examine(options, logger);
  if (!report.ok()) return call.fail(report.error());
  if (facts) tell_facts(*report, call.out);
  tell_findings(*report, all, call.out);
  return verdict(*report);
}

}  // namespace

int run_hsm_status(Invocation& call) {
  auto options = hsm_options(call);
  if (!options.ok()) return call.fail(options.error());
  const int verdict = report_on(call, *options, true, false);
  if (verdict != kOk && verdict != kNegative) return verdict;
  const int moving = tell_outside(call, *options);
  return moving == kOk ? verdict : moving;
}

int run_hsm_reconcile(Invocation& call) {
  auto options = hsm_options(call);
  if (!options.ok()) return call.fail(options.error());
  const std::vector<std::string> ids = call.all("destroy");
  if (!ids.empty()) {
    StderrLogger logger(call.out);
    auto done = kms::pkcs11::destroy_orphans(*options, ids, logger);
    if (!done.ok()) return call.fail(done.error());
    for (const std::string& id : ids) call.out.line("destroyed: " + id);
  }
  return report_on(call, *options, false, true);
}

int run_hsm_doctor(Invocation& call) {
  auto options = hsm_options(call);
  if (!options.ok()) return call.fail(options.error());
  StderrLogger logger(call.out);
  auto checked = kms::pkcs11::open_store(*options, logger, true);
  if (!checked.ok()) return call.fail(checked.error());
  call.out.line("login, making of a trial key and encryption with it: good");
  call.out.set("trial", "good");
  return report_on(call, *options, true, true);
}

}  // namespace kmsctl
