// SPDX-License-Identifier: Apache-2.0
// audit verify: whether a chained audit log is as it was written.
#include "audit_command.h"

#include "audit/config.h"
#include "audit/verify.h"

namespace kmsctl {
namespace {

using kms::AuditFinding;

std::string_view kind_name(AuditFinding::Kind kind) {
  constexpr std::string_view names[] = {"changed",  "removed",   "moved",     "repeated",
                                        "inserted", "cut_off",   "no_chain",  "wrong_key",
                                        "leftover", "unchained", "continued", "open_end"};
  return names[static_cast<std::size_t>(kind)];
}

json_t* number(std::uint64_t n) {
  return json_integer(static_cast<json_int_t>(n));
}

void report_findings(const kms::AuditReport& report, Output& out) {
  json_t* list = json_array();
  for (const AuditFinding& finding : report.findings) {
    json_t* one = json_object();
    json_object_set_new(one, "kind", json_text(kind_name(finding.kind)));
    json_object_set_new(one, "problem", json_boolean(finding.is_problem()));
    json_object_set_new(one, "file", json_text(finding.file));
    json_object_set_new(one, "line", number(finding.line));
    json_object_set_new(one, "text", json_text(finding.text));
    json_array_append_new(list, one);
    if (!finding.is_problem() && out.quiet()) continue;
    const std::string place =
        finding.line > 0 ? finding.file + ":" + std::to_string(finding.line) : "end of the log";
    out.line(place + ": " + (finding.is_problem() ? "PROBLEM: " : "note: ") + shown(finding.text) +
             " [" + std::string(kind_name(finding.kind)) + "]");
  }
  if (report.more_findings > 0)
    out.line(std::to_string(report.more_findings) + " more findings are not shown");
  out.set("findings", list);
  out.set("more_findings", number(report.more_findings));
}

// Each row with its end, which a later run can be given by --expect.
void report_rows(const kms::AuditReport& report, Output& out) {
  json_t* list = json_array();
  for (const kms::AuditRow& row : report.rows) {
    const std::string end = row.id + ":" + std::to_string(row.last) + ":" + row.last_hash;
    out.line("row " + row.id + ": lines " + std::to_string(row.first) + " to " +
             std::to_string(row.last) + (row.ended ? ", ended" : ", no end line"));
    out.line("  --expect " + end);
    json_t* one = json_object();
    json_object_set_new(one, "id", json_text(row.id));
    json_object_set_new(one, "first", number(row.first));
    json_object_set_new(one, "last", number(row.last));
    json_object_set_new(one, "ended", json_boolean(row.ended));
    json_object_set_new(one, "checkpoint", json_text(end));
    json_array_append_new(list, one);
  }
  out.set("rows", list);
}

}  // namespace

int run_audit_verify(Invocation& call) {
  kms::AuditVerifyOptions options;
  options.continues = call.has("continues");
  for (const std::string& text : call.all("expect")) {
    auto checkpoint = kms::parse_audit_checkpoint(text);
    if (!checkpoint.ok()) return call.usage_error("--expect: " + checkpoint.error().message);
    options.expected.push_back(std::move(*checkpoint));
  }
  kms::Secret key;
  if (call.has("key-file")) {
    auto read = kms::read_chain_key(call.get("key-file"));
    if (!read.ok()) return call.fail(read.error());
    key = std::move(*read);
    options.key = &key;
  }
  auto report = kms::verify_audit_chain(call.arguments, options);
  if (!report.ok()) return call.fail(kUnreachable, report.error().message);
  report_findings(*report, call.out);
  report_rows(*report, call.out);
  call.out.line(std::string(report->good() ? "GOOD: " : "NOT GOOD: ") +
                std::to_string(report->lines) + " lines, " + std::to_string(report->chained) +
                " of them chained, " + std::to_string(report->problems) + " problems");
  call.out.set("good", json_boolean(report->good()));
  call.out.set("lines", number(report->lines));
  call.out.set("chained", number(report->chained));
  call.out.set("problems", number(report->problems));
  return report->good() ? kOk : kNegative;
}

}  // namespace kmsctl
