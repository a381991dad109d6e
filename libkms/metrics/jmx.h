// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "metrics/metrics.h"

namespace kms {

struct JmxRequest {
  const Metrics& metrics;
  int port = 0;                                    // of the server, part of a bean's name
  pid_t pid = 0;                                   // of httpd's parent
  std::optional<std::string_view> query{}, get{};  // parameters qry and get
};

// The body of /jmx as Hadoop's JMXJsonServlet would answer: {"beans": [...]}. docs/metrics.md says
// what the values of Java's own beans stand for here. Mistakes in the parameters are in the text;
// the status is 200 with all of them, as with Java.
std::string jmx_json(const JmxRequest& request);

}  // namespace kms
