// SPDX-License-Identifier: Apache-2.0
#include "pages/status_html.h"

#include <algorithm>
#include <cstdio>

#include "crypto/base64.h"
#include "crypto/sha256.h"
#include "pages/html.h"

namespace kms {
namespace {

using html::escaped;
using html::Table;

// Colours have a contrast of at least 4.5 to 1 on their ground, in both schemes.
constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1d2329;--dim:#59626c;--line:#d9dde1;--accent:#1f5fae;
--ok:#17692f;--okbg:#e1f3e6;--warn:#7a4b00;--warnbg:#fff0cf;--bad:#a1150f;--badbg:#fde3e1}
@media (prefers-color-scheme:dark){:root{--bg:#14181c;--card:#1c2228;--ink:#e6e9ec;--dim:#a3adb7;--line:#343c45;
--accent:#7db4f5;--ok:#84dc9c;--okbg:#153420;--warn:#f5c869;--warnbg:#3a2c09;--bad:#ff9d96;--badbg:#451815}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:26px;display:flex;flex-wrap:wrap;gap:8px 16px;align-items:center}
h1{font-size:24px;margin:0;letter-spacing:-.01em}
h2{font-size:17px;margin:34px 0 10px}
header p{margin:0;color:var(--dim);flex-basis:100%}
.pill{display:inline-block;border-radius:99px;padding:1px 11px;font-weight:600;font-size:13px;white-space:nowrap}
h1+.pill{font-size:15px;padding:3px 14px}
.ok{color:var(--ok);background:var(--okbg)}.degraded{color:var(--warn);background:var(--warnbg)}
.failing{color:var(--bad);background:var(--badbg)}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(215px,1fr));gap:10px;margin:18px 0 0}
.facts div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:9px 13px;min-width:0}
dt{color:var(--dim);font-size:13px}dd{margin:0;font-weight:600;overflow-wrap:anywhere}dd time{white-space:normal}dd small{font-weight:400;color:var(--dim)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px}
.keys .scroll{max-height:560px;overflow-y:auto}
.keys thead th{position:sticky;top:0}
table{border-collapse:collapse;width:100%;font-size:14px}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:6px 13px;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--dim);font-weight:600;font-size:13px;background:var(--card);white-space:nowrap}
tbody th{font-weight:600;overflow-wrap:anywhere;min-width:120px}
td{overflow-wrap:break-word;max-width:340px}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
time{white-space:nowrap;font-variant-numeric:tabular-nums}
.name{unicode-bidi:isolate}
.dim,.none{color:var(--dim)}.none{margin:0;padding:10px 13px;background:var(--card);border:1px solid var(--line);border-radius:8px}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
svg{display:block}.bar{fill:var(--accent)}.base{fill:var(--line)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
footer{margin-top:34px;padding-bottom:30px;color:var(--dim);font-size:13px}
a{color:var(--accent)}
@media (max-width:640px){header,main,footer{padding-left:12px;padding-right:12px}th,td{padding:6px 9px}}
)css";

std::string pill(HealthState state, std::string_view word) {
  return std::string("<span class=\"pill ") + health_word(state) + "\">" + escaped(word) +
         "</span>";
}

std::string pill(HealthState state) {
  return pill(state, health_word(state));
}

std::string heading(std::string_view text, std::string_view id) {
  return "<section aria-labelledby=\"" + std::string(id) + "\"><h2 id=\"" + std::string(id) +
         "\">" + escaped(text) + "</h2>\n";
}

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f" : "%.0f", value);
  return text;
}

std::string fact(std::string_view title, const std::string& content) {
  return "<div><dt>" + escaped(title) + "</dt><dd>" + content + "</dd></div>\n";
}

std::string ago(std::int64_t now, std::int64_t then) {
  return then == 0 ? std::string()
                   : "<br><small>" + escaped(html::span(now - then)) + " ago</small>";
}

std::string facts(const StatusModel& m) {
  std::string out = "<dl class=\"facts\">\n";
  out += fact("httpd started", html::time(m.started_ms) + ago(m.now_ms, m.started_ms));
  out += fact("Configuration read", html::time(m.configured_ms) + ago(m.now_ms, m.configured_ms));
  out += fact("ACLs read", html::time(m.acls_ms) + ago(m.now_ms, m.acls_ms));
  out += fact("Keys", html::number(m.key_count));
  out += fact("Denials since the start", html::number(m.denial_count));
  out += fact("Refused by limits",
              html::number(m.limit_totals.refused_user + m.limit_totals.refused_key));
  out +=
      fact("Decrypt alarms", html::number(m.limit_totals.alarms_user + m.limit_totals.alarms_key));
  out += fact("Answered by", "process " + std::to_string(m.pid) + "<br><small>" +
                                 escaped(m.software) + "</small>");
  return out + "</dl>\n";
}

std::string health_section(const StatusModel& m) {
  Table table("Health of the parts", {{"Part"}, {"State"}, {"Since"}, {"What"}});
  for (const auto& part : m.components) {
    std::string what =
        part.health.state == HealthState::good ? escaped(part.what) : escaped(part.health.text);
    if (!part.detail.empty()) what += "<br><code>" + html::name(part.detail, 300) + "</code>";
    table.row(
        {escaped(part.name), pill(part.health.state), html::time(part.health.since_ms), what});
  }
  return heading("Health", "health") + std::move(table).finish("Nothing is known.") +
         "</section>\n";
}

std::string certificate_section(const StatusModel& m) {
  constexpr std::int64_t kDay = 86'400'000, kSoon = 21 * kDay;
  Table table("Certificates of this server", {{"File"}, {"Subject"}, {"State"}, {"Expires"}});
  for (const auto& certificate : m.certificates) {
    const std::int64_t left = certificate.not_after_ms - m.now_ms;
    std::string state;
    if (!certificate.problem.empty())
      state = pill(HealthState::failing, certificate.problem);
    else if (left <= 0)
      state = pill(HealthState::failing, "expired");
    else
      state = pill(left < kSoon ? HealthState::degraded : HealthState::good,
                   html::span(left) + " left");
    table.row({html::name(certificate.file), html::name(certificate.subject, 200), state,
               html::time(certificate.not_after_ms)});
  }
  return heading("TLS", "tls") +
         std::move(table).finish(m.tls ? "TLS is on, but no SSLCertificateFile was found."
                                       : "No TLS in this server.") +
         "</section>\n";
}

std::string key_row_state(const StatusModel::Key& key) {
  return key.unreadable ? pill(HealthState::failing, "unreadable")
                        : "<span class=\"dim\">not read yet</span>";
}

std::string keys_section(const StatusModel& m) {
  Table table("Keys", {{"Key"}, {"Versions", true}, {"Cipher"}, {"Bits", true}, {"Created"}});
  for (const auto& key : m.keys) {
    if (key.metadata == nullptr) {
      table.row({html::name(key.name), "", key_row_state(key), "", ""});
      continue;
    }
    table.row({html::name(key.name),
               html::number(static_cast<std::uint64_t>(std::max(key.metadata->versions, 0))),
               html::name(key.metadata->cipher, 60),
               html::number(static_cast<std::uint64_t>(std::max(key.metadata->bit_length, 0))),
               html::time(key.metadata->created_ms)});
  }
  std::string out = heading("Keys", "keys");
  if (!m.keystore_problem.empty())
    out += "<p class=\"none\">" + pill(HealthState::failing, "not listed") + " " +
           escaped(m.keystore_problem) + "</p>\n";
  else
    out += "<div class=\"keys\">" + std::move(table).finish("There are no keys.") + "</div>\n";
  if (m.keys.size() < m.key_count)
    out += "<p class=\"dim\">The first " + html::number(m.keys.size()) + " of " +
           html::number(m.key_count) + " by name.</p>\n";
  if (m.keys_not_read > 0)
    out += "<p class=\"dim\">" + html::number(m.keys_not_read) +
           " were not read by this process yet. Each view reads some more.</p>\n";
  return out + "</section>\n";
}

std::string duration_text(const StatusModel::Operation::Bucket& bucket) {
  return html::number(bucket.count) +
         (bucket.up_to_ms > 0 ? " up to " + decimal(bucket.up_to_ms) + " ms" : " longer");
}

std::string operations_section(const StatusModel& m) {
  if (m.operations.empty()) return {};
  Table table("Operations since the start", {{"Operation"},
                                             {"Done", true},
                                             {"Denied", true},
                                             {"Limited", true},
                                             {"Client errors", true},
                                             {"Server errors", true},
                                             {"Mean ms", true},
                                             {"Median ms", true},
                                             {"p99 ms", true},
                                             {"How long they took"}});
  for (const auto& operation : m.operations) {
    std::vector<html::Bar> bars;
    std::string label = operation.name + ": ";
    for (const auto& bucket : operation.durations) {
      bars.push_back({bucket.count, duration_text(bucket)});
      if (bucket.count > 0) label += bars.back().title + "; ";
    }
    table.row({escaped(operation.name), html::number(operation.ok), html::number(operation.denied),
               html::number(operation.limited), html::number(operation.client_errors),
               html::number(operation.server_errors), decimal(operation.mean_ms),
               "&le; " + decimal(operation.median_ms), "&le; " + decimal(operation.p99_ms),
               html::bars(bars, label)});
  }
  return heading("Operations", "operations") + std::move(table).finish("Nothing was asked yet.") +
         "</section>\n";
}

std::string limits_section(const StatusModel& m) {
  Table table("Limits and alarms", {{"Rule"}, {"What it does"}});
  for (const LimitRule& rule : m.limits) table.row({escaped(rule.text), "limit: refuses with 429"});
  for (const AlarmRule& rule : m.alarms)
    table.row({escaped(rule.text), "decrypt alarm: writes KMS0630"});
  std::string out = heading("Limits and alarms", "limits") +
                    std::move(table).finish("Neither limits nor alarms are configured.");
  if (!m.limits.empty() || !m.alarms.empty()) {
    const auto& t = m.limit_totals;
    out += "<p class=\"dim\">Refused: " + html::number(t.refused_user) + " by user, " +
           html::number(t.refused_key) + " by key. Alarms: " + html::number(t.alarms_user) +
           " by user, " + html::number(t.alarms_key) +
           " by key. Counted in shared places of a full table: " + html::number(t.shared) +
           ".</p>\n";
  }
  return out + "</section>\n";
}

std::string audit_section(const StatusModel& m) {
  Table table(
      "Audit log",
      {{"Target"}, {"State"}, {"Failed writes", true}, {"Lost lines", true}, {"Last error"}});
  table.row({"<code>" + html::name(m.audit_target, 200) + "</code>",
             m.audit.ok
                 ? pill(HealthState::good)
                 : pill(HealthState::failing) + " since " + html::time(m.audit.failing_since_ms),
             html::number(m.audit.failures), html::number(m.audit.lost_lines),
             m.audit.last_error.empty() ? "\xe2\x80\x93" : html::name(m.audit.last_error, 300)});
  return heading("Audit log", "audit") + std::move(table).finish("") + "</section>\n";
}

std::string_view denial_word(const DenialRing::Denial& denial) {
  switch (denial.status) {
    case AuditStatus::unauthenticated:
      return "not authenticated";
    case AuditStatus::error:
      return "rate limit";
    case AuditStatus::ok:
    case AuditStatus::unauthorized:
      break;
  }
  return "ACL";
}

std::string denials_section(const StatusModel& m) {
  Table table("Last denials",
              {{"Time"}, {"Why"}, {"User"}, {"Operation"}, {"Key"}, {"From"}, {"More"}});
  for (const auto& denial : m.denials)
    table.row({html::time(denial.time_ms), escaped(denial_word(denial)), html::name(denial.user),
               html::name(denial.op), html::name(denial.key), html::name(denial.remote_address),
               html::name(denial.reason, 200)});
  return heading("Last denials", "denials") + std::move(table).finish("None since the start.") +
         "</section>\n";
}

std::string head(const StatusModel& m) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta name=\"robots\" content=\"noindex\">\n<link rel=\"icon\" href=\"data:,\">\n";
  if (m.refresh_s > 0)
    out += "<meta http-equiv=\"refresh\" content=\"" + std::to_string(m.refresh_s) + "\">\n";
  out += "<title>KMS " + std::string(health_word(m.state)) + " \xe2\x80\x93 " + escaped(m.host) +
         "</title>\n<style>" + std::string(kStyle) + "</style></head>\n<body>\n";
  out += "<header><h1>Key Management Server</h1>" + pill(m.state) + "<p>" +
         html::name(m.host, 200) + " \xc2\xb7 " + html::name(m.keystore_uri, 300) + " \xc2\xb7 " +
         html::time(m.now_ms) + "</p></header>\n<main>\n";
  return out;
}

std::string foot(const StatusModel& m) {
  return "</main>\n<footer>For " + html::name(m.user) + ". " +
         (m.refresh_s > 0 ? "This page loads anew every " + std::to_string(m.refresh_s) +
                                " s; <a href=\"?\">stop that</a>."
                          : std::string("<a href=\"?refresh=10\">Load anew every 10 s</a>.")) +
         " Counts are of all processes; health is what the process above knows.</footer>\n"
         "</body></html>\n";
}

}  // namespace

std::string status_page(const StatusModel& m) {
  return head(m) + facts(m) + health_section(m) + operations_section(m) + limits_section(m) +
         denials_section(m) + audit_section(m) + certificate_section(m) + keys_section(m) + foot(m);
}

std::string status_policy() {
  const auto digest = sha256(as_bytes(kStyle));
  // Without the digest the page comes without its style, and as strict.
  const std::string style =
      digest.ok() ? "style-src 'sha256-" + base64_encode(*digest) + "'; " : std::string();
  return "default-src 'none'; " + style +
         "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}

}  // namespace kms
