// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "audit/audit.h"
#include "core/health.h"
#include "keystore/keystore.h"
#include "metrics/metrics.h"

namespace kms {

enum class MetricType { counter, gauge, histogram };

// A row of metric_table.inc. The name on the page is kms_ID.
struct MetricFamily {
  std::string_view id;
  MetricType type;
  std::string_view help;
};
std::span<const MetricFamily> metric_families();

// What limits and alarms have counted since httpd was started; zeros where there are none.
struct LimitCounts {
  std::uint64_t refused_user = 0, refused_key = 0, alarms_user = 0, alarms_key = 0;
};

// One component of /kms/health, well or not.
struct ComponentState {
  std::string_view component;
  HealthState state;
};

struct PrometheusRequest {
  const Metrics& metrics;
  const AuditHealth& audit;
  const KeyStoreSize& keystore;
  LimitCounts limits = {};
  std::span<const ComponentState> components = {};
};

// The page for Prometheus, text format 0.0.4: every family of the table, in its order. No label
// holds the name of a user or of a key.
std::string prometheus_text(const PrometheusRequest& request);

}  // namespace kms
