// SPDX-License-Identifier: Apache-2.0
#include "metrics/prometheus.h"
#include "pages/pages.h"

namespace kms {

void produce_prom(const PageRequest& request, rest::Answer& answer) {
  const AuditHealth audit = request.instance.audit().health();
  const KeyStoreSize size = request.instance.keys().size();
  LimitCounts counts;
  if (const Limits* limits = request.instance.limits(); limits != nullptr) {
    const Limits::Totals totals = limits->totals();
    counts = {totals.refused_user, totals.refused_key, totals.alarms_user, totals.alarms_key};
  }
  std::vector<ComponentState> components;
  for (const Instance::Component& one : request.instance.components())
    components.push_back({one.name, one.health.state});
  answer.text = prometheus_text({request.instance.metrics(), audit, size, counts, components});
}

}  // namespace kms
