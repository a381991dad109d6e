// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mod_kms.h"

namespace kms {

// A certificate that mod_ssl shows to clients of a server.
struct Certificate {
  std::string file, subject;
  std::int64_t not_after_ms = 0;  // 0: it could not be read, problem says why
  std::string problem;
};

// Those of SSLCertificateFile of each server with SSLEngine On, put into the servers'
// configurations. After the configuration was read; as root where httpd was started by root.
void read_certificates(server_rec* main_server);

}  // namespace kms
