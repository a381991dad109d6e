// SPDX-License-Identifier: Apache-2.0
// The part of mod_status's page that is about the KMS. No name of a user or of a key is on it.
#include "mod_kms.h"
// After httpd's own headers, which they lean on.
#include <apu.h>

#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_main.h>
#include <mod_status.h>

#include <set>

#include "guard.h"
#include "kms_config.h"
#include "metering.h"

namespace kms {
namespace {

struct Figures {
  std::uint64_t requests = 0;
  std::array<std::uint64_t, kMetricResultNames.size()> results{};
};

Figures figures_of(const MetricTotals& sums) {
  Figures figures;
  for (std::size_t op = 0; op < kMetricOpNames.size(); ++op)
    for (std::size_t r = 0; r < kMetricResultNames.size(); ++r)
      figures.results[r] +=
          sums[cells::request(static_cast<MetricOp>(op), static_cast<MetricResult>(r))];
  for (const std::uint64_t count : figures.results) figures.requests += count;
  return figures;
}

// httpd's own printf knows no %llu.
const char* shown(request_rec* r, std::uint64_t value) {
  return apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, apr_uint64_t{value});
}

// "KMSRequests: 12", one a line; the second KMS of an httpd has "KMS2".
void write_lines(request_rec* r, Instance& instance, std::size_t number) {
  const MetricTotals sums = instance.metrics().totals();
  const Figures figures = figures_of(sums);
  const std::string prefix = number == 1 ? "KMS" : "KMS" + std::to_string(number);
  const auto line = [&](const std::string& name, std::uint64_t value) {
    ap_rprintf(r, "%s%s: %s\n", prefix.c_str(), name.c_str(), shown(r, value));
  };
  line("Requests", figures.requests);
  for (std::size_t i = 0; i < figures.results.size(); ++i)
    line("Result-" + std::string(kMetricResultNames[i]), figures.results[i]);
  for (std::size_t op = 0; op < kMetricOpNames.size(); ++op)
    line("Ok-" + std::string(kMetricOpNames[op]),
         sums[cells::request(static_cast<MetricOp>(op), MetricResult::ok)]);
  line("Unauthenticated", sums[cells::kAuthOutcomes + cells::at(AuthOutcome::unauthenticated)]);
  line("InFlight", static_cast<std::uint64_t>(instance.metrics().processes().in_flight));
  line("AuditUp", instance.audit().health().ok ? 1 : 0);
}

void write_table(request_rec* r, Instance& instance) {
  const MetricTotals sums = instance.metrics().totals();
  ap_rprintf(r, "<hr />\n<h2>KMS of %s</h2>\n<p>Audit log: %s. Requests in work: %s.</p>\n",
             ap_escape_html(r->pool, instance.settings().conf_dir.c_str()),
             instance.audit().health().ok ? "up" : "FAILING, no key is served",
             shown(r, static_cast<std::uint64_t>(instance.metrics().processes().in_flight)));
  ap_rputs("<table border=\"0\"><tr><th>Operation</th>", r);
  for (const std::string_view result : kMetricResultNames)
    ap_rprintf(r, "<th>%s</th>", result.data());
  ap_rputs("</tr>\n", r);
  for (std::size_t op = 0; op < kMetricOpNames.size(); ++op) {
    ap_rprintf(r, "<tr><td>%s</td>", kMetricOpNames[op].data());
    for (std::size_t i = 0; i < kMetricResultNames.size(); ++i)
      ap_rprintf(
          r, "<td>%s</td>",
          shown(r, sums[cells::request(static_cast<MetricOp>(op), static_cast<MetricResult>(i))]));
    ap_rputs("</tr>\n", r);
  }
  ap_rputs("</table>\n", r);
}

int write_section(request_rec* r, int flags) {
  return guarded(r, [r, flags] {
    std::set<Instance*> seen;
    for (const server_rec* server = ap_server_conf; server != nullptr; server = server->next) {
      Instance* instance = server_config(server).instance;
      if (instance == nullptr || !seen.insert(instance).second) continue;
      if ((flags & AP_STATUS_SHORT) != 0)
        write_lines(r, *instance, seen.size());
      else
        write_table(r, *instance);
    }
    return OK;
  });
}

}  // namespace

void register_status_hook() {
  APR_OPTIONAL_HOOK(ap, status_hook, write_section, nullptr, nullptr, APR_HOOK_MIDDLE);
}

}  // namespace kms
