// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <zookeeper/zookeeper.h>

#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/result.h"
#include "zookeeper/options.h"

namespace kms::zookeeper {

// Names of the properties that options come from, for messages.
struct PropertyNames {
  std::string auth_type, ssl_enabled, keystore, truststore;
};

// Whether this build can do what options ask for. Errors: configuration, each names a property and
// what is missing.
Result<void> check_options(const ZooKeeperOptions& options, const PropertyNames& names);

// Opens handles of the C client. Its own log lines go to the logger.
class Connector {
 public:
  Connector(const ZooKeeperOptions& options, Logger& logger);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // May take as long as the resolver does. The caller closes the handle.
  Result<zhandle_t*> open(watcher_fn watcher, void* context);
  // Keeps credentials fresh; to be called now and then, cheap when there is nothing to do.
  void refresh();
  // For nodes that are made over this connection.
  const ACL_vector* acl() const noexcept { return &acl_; }

 private:
  const ZooKeeperOptions& options_;
  Logger& logger_;
  std::string owner_, scheme_;
  ::ACL entry_{};
  ACL_vector acl_{};
  [[maybe_unused]] bool warned_ = false;
  struct Login;
  std::unique_ptr<Login> login_;
};

}  // namespace kms::zookeeper
