// SPDX-License-Identifier: Apache-2.0
// Stands for the signer and the token store in a build without the C client of ZooKeeper.
#include "zookeeper/signer.h"
#include "zookeeper/token_store.h"

namespace kms {
namespace {

Error no_support(const char* property) {
  return Error(ErrorKind::configuration,
               std::string(property) +
                   " needs ZooKeeper, which this build does not support: libzookeeper-mt was not "
                   "there when it was configured");
}

}  // namespace

Result<std::unique_ptr<SignerSecrets>> make_zookeeper_signer(const ZooKeeperOptions&, std::int64_t,
                                                             Logger&) {
  return no_support("hadoop.kms.authentication.signer.secret.provider");
}

Result<std::unique_ptr<TokenStore>> make_zookeeper_token_store(const ZooKeeperOptions&, Logger&) {
  return no_support("hadoop.kms.authentication.zk-dt-secret-manager.enable");
}

}  // namespace kms
