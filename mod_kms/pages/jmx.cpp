// SPDX-License-Identifier: Apache-2.0
#include "metrics/jmx.h"

#include <unistd.h>

#include "pages/pages.h"

namespace kms {

void produce_jmx(const PageRequest& request, rest::Answer& answer) {
  JmxRequest jmx{request.instance.metrics()};
  jmx.port = request.r->connection->local_addr->port;
  jmx.pid = getppid();
  jmx.query = request.query.first("qry");
  jmx.get = request.query.first("get");
  answer.text = jmx_json(jmx);
  // As Java's servlet has them.
  answer.headers.emplace_back("Access-Control-Allow-Methods", "GET");
  answer.headers.emplace_back("Access-Control-Allow-Origin", "*");
}

}  // namespace kms
