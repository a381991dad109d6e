// SPDX-License-Identifier: Apache-2.0
// /kms/status: gathers what the page for operators shows.
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "core/clock.h"
#include "kms_config.h"
#include "metrics/cells.h"
#include "pages/pages.h"
#include "pages/status_html.h"
#include "request_state.h"

namespace kms {
namespace {

constexpr std::size_t kMostKeys = 2000;
// Reading a key's metadata for the first time may cost its password's key derivation.
constexpr std::int64_t kReadMs = 300;

void add_components(Instance& instance, StatusModel& model) {
  struct Part {
    const char *component, *name, *what;
  };
  constexpr Part kParts[] = {
      {"audit", "Audit log", "takes records"},
      {"keystore", "Keystore", "reads and writes"},
      {"acls", "ACLs", "the file and the rules in force agree"},
      {"signer", "Cookie secrets", "sign and verify"},
      {"tokens", "Delegation tokens", "their store is open"},
      {"maintenance", "Periodic checks", "run each second"},
  };
  for (Instance::Component& one : instance.components()) {
    const auto part = std::find_if(std::begin(kParts), std::end(kParts), [&](const Part& p) {
      return std::string_view(p.component) == one.name;
    });
    if (part == std::end(kParts)) continue;
    const bool good = one.health.state == HealthState::good;
    model.components.push_back(
        {part->name, part->what, one.health, good ? std::string() : std::move(one.detail)});
    model.state = std::max(model.state, one.health.state);
  }
}

void add_keys(KeyStore& keys, StatusModel& model) {
  model.keystore_uri = keys.uri();
  auto names = keys.names();
  if (!names.ok()) {
    model.keystore_problem = names.error().message;
    return;
  }
  model.key_count = names->size();
  std::sort(names->begin(), names->end());
  const std::int64_t enough = steady_ms() + kReadMs;
  for (std::string& name : *names) {
    if (model.keys.size() == kMostKeys) return;
    StatusModel::Key key;
    if (steady_ms() < enough) {
      const auto metadata = keys.metadata(name);
      key.unreadable = !metadata.ok();
      if (metadata.ok()) key.metadata = *metadata;
    } else {
      ++model.keys_not_read;
    }
    key.name = std::move(name);
    model.keys.push_back(std::move(key));
  }
}

// The upper bound of the bucket in which the given share of all durations is reached, in ms; of the
// last one its lower bound.
double reached_ms(const std::uint64_t* buckets, std::uint64_t all, double share) {
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets[i];
    if (static_cast<double>(seen) >= share * static_cast<double>(all))
      return bucket_bound_s(i) * 1000;
  }
  return bucket_bound_s(kBuckets - 1) * 1000;
}

// What the counters of all processes say of each operation that was asked for.
void add_operations(const Metrics& metrics, StatusModel& model) {
  const MetricTotals totals = metrics.totals();
  for (std::size_t i = 0; i < kMetricOpNames.size(); ++i) {
    const auto op = static_cast<MetricOp>(i);
    const auto count = [&](MetricResult result) { return totals[cells::request(op, result)]; };
    StatusModel::Operation row;
    row.name = kMetricOpNames[i];
    row.ok = count(MetricResult::ok);
    row.denied = count(MetricResult::denied_op) + count(MetricResult::denied_key);
    row.limited = count(MetricResult::rate_limited);
    row.client_errors = count(MetricResult::client_error);
    row.server_errors = count(MetricResult::server_error) + count(MetricResult::unavailable);
    const std::uint64_t* buckets = &totals[cells::duration(op)];
    std::uint64_t all = 0;
    for (std::size_t b = 0; b <= kBuckets; ++b) {
      all += buckets[b];
      row.durations.push_back({buckets[b], b < kBuckets ? bucket_bound_s(b) * 1000 : 0});
    }
    if (all == 0) continue;
    row.mean_ms = static_cast<double>(buckets[kBuckets + 1]) / static_cast<double>(all) / 1000;
    row.median_ms = reached_ms(buckets, all, 0.5);
    row.p99_ms = reached_ms(buckets, all, 0.99);
    model.operations.push_back(std::move(row));
  }
}

void add_server(const PageRequest& request, StatusModel& model) {
  const ServerConfig& config = server_config(request.r->server);
  model.tls = config.tls;
  for (const Certificate& certificate : config.certificates)
    model.certificates.push_back(
        {certificate.file, certificate.subject, certificate.problem, certificate.not_after_ms});
  if (config.audit_log) model.audit_target = config.audit_log->name;
  model.host = ap_get_server_name(request.r);
  model.software = ap_get_server_banner();
  model.user = request_state(request.r)->identity.short_name;
  model.pid = static_cast<long>(getpid());
}

// Seconds between two looks that the reader wants.
int wanted_refresh(const rest::Query& query) {
  const std::string_view wanted = query.first("refresh").value_or("");
  int seconds = 0;
  std::from_chars(wanted.data(), wanted.data() + wanted.size(), seconds);
  return seconds > 0 ? std::clamp(seconds, 2, 3600) : 0;
}

}  // namespace

void produce_status(const PageRequest& request, rest::Answer& answer) {
  Instance& instance = request.instance;
  StatusModel model;
  model.now_ms = now_ms();
  model.refresh_s = wanted_refresh(request.query);
  add_server(request, model);
  add_components(instance, model);
  model.started_ms = instance.times().started;
  model.configured_ms = instance.times().configured;
  model.acls_ms = instance.acls().loaded_ms();
  add_keys(instance.keys(), model);
  add_operations(instance.metrics(), model);
  if (const Limits* limits = instance.limits(); limits != nullptr) {
    model.limits = limits->rules();
    model.alarms = limits->alarms();
    model.limit_totals = limits->totals();
  }
  model.audit = instance.audit().health();
  model.denials = instance.denials().last();
  model.denial_count = instance.denials().count();
  answer.text = status_page(model);
  answer.headers.emplace_back("Content-Security-Policy", status_policy());
  answer.headers.emplace_back("Referrer-Policy", "no-referrer");
  answer.headers.emplace_back("Cache-Control", "no-store");
}

}  // namespace kms
