// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace kms {

// How to reach ZooKeeper, from the properties of the Java KMS (kms-auth.md 1.6, 4.9).
struct ZooKeeperOptions {
  std::string connection_string;  // host:port[,host:port...][/chroot]
  std::string path;               // absolute znode that everything of this use lies at or below
  bool sasl = false;              // auth.type sasl: Kerberos, and znodes for the principal only
  std::string keytab, principal;  // for sasl
  std::string server_principal;   // of the ZooKeeper servers; empty: zookeeper/HOST
  std::int64_t session_timeout_ms = 10000, connection_timeout_ms = 10000;
  std::int64_t retries = 3;
  std::int64_t sequence_batch = 100;  // of tokens: sequence numbers taken at a time
  bool watch_tokens = true;           // of tokens: keep them in memory, and watch for changes
  bool ssl = false;
  std::string keystore, keystore_password, truststore, truststore_password;
};

}  // namespace kms
