// SPDX-License-Identifier: Apache-2.0
#include "metrics/prometheus.h"
#include "pages/pages.h"

namespace kms {

void produce_prom(const PageRequest& request, rest::Answer& answer) {
  const AuditHealth audit = request.instance.audit().health();
  const KeyStoreSize size = request.instance.keys().size();
  answer.text = prometheus_text({request.instance.metrics(), audit, size});
}

}  // namespace kms
