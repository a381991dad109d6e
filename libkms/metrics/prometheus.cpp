// SPDX-License-Identifier: Apache-2.0
#include "metrics/prometheus.h"

#include <array>
#include <charconv>

namespace kms {
namespace {

enum class Family : std::size_t {
#define KMS_METRIC(id, type, help) id,
#include "metrics/metric_table.inc"
#undef KMS_METRIC
};

constexpr MetricFamily kFamilies[] = {
#define KMS_METRIC(id, type, help) {#id, MetricType::type, help},
#include "metrics/metric_table.inc"
#undef KMS_METRIC
};

constexpr std::string_view kTypeNames[] = {"counter", "gauge", "histogram"};

class Page {
 public:
  explicit Page(const PrometheusRequest& request)
      : request_(request),
        sums_(request.metrics.totals()),
        processes_(request.metrics.processes()) {}

  std::string text() {
    for (std::size_t i = 0; i < std::size(kFamilies); ++i) {
      family_ = kFamilies[i].id;
      out_.append("# HELP kms_").append(family_).append(" ").append(kFamilies[i].help);
      out_.append("\n# TYPE kms_").append(family_).append(" ");
      out_.append(kTypeNames[static_cast<std::size_t>(kFamilies[i].type)]).append("\n");
      samples(static_cast<Family>(i));
    }
    return std::move(out_);
  }

 private:
  void samples(Family family) {
    if (of_requests(family) || of_parts(family)) return;
    of_processes(family);
  }

  bool of_requests(Family family) {
    switch (family) {
      case Family::requests_total:
        for (std::size_t op = 0; op < kMetricOpNames.size(); ++op)
          for (std::size_t r = 0; r < kMetricResultNames.size(); ++r)
            counted({{"operation", kMetricOpNames[op]}, {"result", kMetricResultNames[r]}},
                    cells::request(static_cast<MetricOp>(op), static_cast<MetricResult>(r)));
        return true;
      case Family::request_duration_seconds:
        for (std::size_t op = 0; op < kMetricOpNames.size(); ++op)
          histogram({{"operation", kMetricOpNames[op]}},
                    cells::duration(static_cast<MetricOp>(op)));
        return true;
      case Family::requests_in_flight:
        number({}, processes_.in_flight);
        return true;
      case Family::responses_total:
        for (std::size_t i = 0; i < 5; ++i)
          counted({{"class", kClasses[i]}}, cells::kResponses + i);
        return true;
      case Family::response_bytes_total:
        counted({}, cells::kResponseBytes);
        return true;
      case Family::authentications_total:
        each("outcome", kAuthOutcomeNames, cells::kAuthOutcomes);
        return true;
      case Family::java_calls_total:
        each("meter", kJavaMeterNames, cells::kMeters);
        return true;
      default:
        return false;
    }
  }

  bool of_parts(Family family) {
    switch (family) {
      case Family::token_operations_total:
        each("operation", kTokenChangeNames, cells::kTokenChanges);
        return true;
      case Family::token_operation_seconds_total:
        for (std::size_t i = 0; i < kTokenChangeNames.size(); ++i)
          real({{"operation", kTokenChangeNames[i]}}, seconds(cells::kTokenUs + i));
        return true;
      case Family::token_failures_total:
        counted({}, cells::kTokenFailures);
        return true;
      case Family::group_lookups_total:
        counted({}, cells::kGroupLookups);
        return true;
      case Family::group_lookup_seconds_total:
        real({}, seconds(cells::kGroupUs));
        return true;
      case Family::group_lookup_failures_total:
        counted({}, cells::kGroupFailures);
        return true;
      case Family::audit_write_duration_seconds:
        histogram({}, cells::kAuditWrites);
        return true;
      case Family::audit_failures_total:
        number({}, static_cast<std::int64_t>(request_.audit.failures));
        return true;
      case Family::audit_lost_lines_total:
        number({}, static_cast<std::int64_t>(request_.audit.lost_lines));
        return true;
      case Family::audit_up:
        number({}, request_.audit.ok);
        return true;
      default:
        return of_keystore(family);
    }
  }

  bool of_keystore(Family family) {
    switch (family) {
      case Family::keystore_reads_total:
        counted({}, cells::kKeystoreReads);
        return true;
      case Family::keys:
        number({}, request_.keystore.keys);
        return true;
      case Family::key_versions:
        number({}, request_.keystore.versions);
        return true;
      case Family::acl_loads_total:
        counted({{"result", "ok"}}, cells::kAclLoads);
        counted({{"result", "failed"}}, cells::kAclFailures);
        return true;
      case Family::rate_limited_total:
        by_rule(request_.limits.refused_user, request_.limits.refused_key);
        return true;
      case Family::decrypt_alarms_total:
        by_rule(request_.limits.alarms_user, request_.limits.alarms_key);
        return true;
      case Family::log_messages_total:
        each("level", kLogLevelNames, cells::kLogLines);
        return true;
      case Family::health:
        for (const ComponentState& one : request_.components)
          for (const HealthState state :
               {HealthState::good, HealthState::degraded, HealthState::failing})
            number({{"component", one.component}, {"state", health_word(state)}},
                   one.state == state);
        return true;
      default:
        return false;
    }
  }

  void of_processes(Family family) {
    switch (family) {
      case Family::start_time_seconds:
        return real({}, static_cast<double>(request_.metrics.start_ms()) / 1000);
      case Family::processes:
        return number({}, processes_.processes);
      case Family::threads:
        return number({}, processes_.threads);
      case Family::resident_memory_bytes:
        return number({}, processes_.resident_bytes);
      case Family::open_fds:
        return number({}, processes_.open_fds);
      case Family::cpu_seconds_total:
        return real({}, static_cast<double>(processes_.cpu_us) / 1e6);
      default:
        return;
    }
  }

  struct Label {
    std::string_view name, value;
  };
  using Labels = std::initializer_list<Label>;

  void begin(Labels labels, std::string_view suffix = {}, std::string_view bound = {}) {
    out_.append("kms_").append(family_).append(suffix);
    char open = '{';
    const auto add = [&](std::string_view name, std::string_view value) {
      out_ += open;
      out_.append(name).append("=\"").append(value).append("\"");
      open = ',';
    };
    for (const Label& label : labels) add(label.name, label.value);
    if (!bound.empty()) add("le", bound);
    if (open == ',') out_ += '}';
    out_ += ' ';
  }
  static std::string decimal(double value) {
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
  }
  void number(Labels labels, std::int64_t value, std::string_view suffix = {},
              std::string_view bound = {}) {
    begin(labels, suffix, bound);
    out_.append(std::to_string(value)).append("\n");
  }
  void real(Labels labels, double value, std::string_view suffix = {}) {
    begin(labels, suffix);
    out_.append(decimal(value)).append("\n");
  }
  std::int64_t sum(std::size_t cell) const { return static_cast<std::int64_t>(sums_[cell]); }
  double seconds(std::size_t us_cell) const { return static_cast<double>(sums_[us_cell]) / 1e6; }
  void counted(Labels labels, std::size_t cell) { number(labels, sum(cell)); }
  void by_rule(std::uint64_t user, std::uint64_t key) {
    number({{"rule", "user"}}, static_cast<std::int64_t>(user));
    number({{"rule", "key"}}, static_cast<std::int64_t>(key));
  }
  template <std::size_t N>
  void each(std::string_view label, const std::array<std::string_view, N>& values,
            std::size_t first_cell) {
    for (std::size_t i = 0; i < N; ++i) counted({{label, values[i]}}, first_cell + i);
  }
  void histogram(Labels labels, std::size_t first) {
    std::int64_t below = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      below += sum(first + i);
      number(labels, below, "_bucket", decimal(bucket_bound_s(i)));
    }
    below += sum(first + kBuckets);
    number(labels, below, "_bucket", "+Inf");
    real(labels, seconds(first + kBuckets + 1), "_sum");
    number(labels, below, "_count");
  }

  static constexpr std::array<std::string_view, 5> kClasses = {"1xx", "2xx", "3xx", "4xx", "5xx"};
  const PrometheusRequest& request_;
  const MetricTotals sums_;
  const ProcessTotals processes_;
  std::string_view family_;
  std::string out_;
};

}  // namespace

std::span<const MetricFamily> metric_families() {
  return kFamilies;
}

std::string prometheus_text(const PrometheusRequest& request) {
  return Page(request).text();
}

}  // namespace kms
