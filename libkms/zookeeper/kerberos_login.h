// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "core/result.h"

namespace kms::zookeeper {

// Tickets of a principal by its keytab, in memory only, for the GSSAPI mechanism of Cyrus SASL in
// the C client's thread. Thread-safe.
class KerberosLogin {
 public:
  // principal: "kms/_HOST@REALM" or without host or realm; _HOST is this host's full name.
  KerberosLogin(std::string principal, std::string keytab);
  ~KerberosLogin();
  KerberosLogin(const KerberosLogin&) = delete;
  KerberosLogin& operator=(const KerberosLogin&) = delete;

  // Gets tickets where there are none, or most of their life is over. Asks the KDC, which may take
  // seconds.
  Result<void> renew();
  // Makes them what GSSAPI uses in the calling thread.
  void use() noexcept;

 private:
  struct Context;
  Result<void> log_in();
  const std::string principal_, keytab_;
  std::mutex mutex_;
  std::unique_ptr<Context> context_;
  std::string cache_;  // name of the credential cache in use
  std::int64_t renew_at_s_ = 0;
};

}  // namespace kms::zookeeper
