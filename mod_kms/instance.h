// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "acl/access_list.h"
#include "acl/acl_file.h"
#include "audit/config.h"
#include "audit/denials.h"
#include "auth/cookie.h"
#include "auth/groups.h"
#include "auth/proxy_users.h"
#include "auth/signer.h"
#include "auth/tokens/token_manager.h"
#include "core/log.h"
#include "hadoop/settings.h"
#include "keystore/keystore.h"
#include "limits/limits.h"
#include "metrics/metered.h"
#include "metrics/metrics.h"
#include "rest/exchange.h"

// One KMS as configured in one server: everything a request works with. No httpd header here.
namespace kms {

struct InstanceOptions {
  hadoop::SettingsInput settings;
  const Secret* password = nullptr;  // KMSKeystorePassword; wins over all
  std::string password_file;         // KMSKeystorePasswordFile; then
  const Secret* environment_password =
      nullptr;  // HADOOP_KEYSTORE_PASSWORD; then the property, then "none"
  int jceks_iterations = 200000;
  int lock_timeout_ms = 30000;
  uid_t uid = static_cast<uid_t>(-1);  // the user of the children, -1 when the parent is not root
  gid_t gid = static_cast<gid_t>(-1);
  std::string user_name;
  bool check_only = false;         // configtest: look, change nothing
  void* signer_region = nullptr;   // shared memory for a random signer; not with check_only
  void* metrics_region = nullptr;  // shared memory of the counters; not with check_only
  // Shared memory of this name for limits, only asked for where there are some; null: none to be
  // had.
  std::function<void*(const std::string& name, std::size_t bytes)> shared_region;
  std::string token_file;  // journal of delegation tokens; empty: with the keys
  AuditConfig audit;       // without its window
  bool audit_aggregate = false;
};

// now_ms() of what happened when; 0: not known.
struct InstanceTimes {
  std::int64_t started = 0;     // httpd
  std::int64_t configured = 0;  // the configuration in force was read
};

class Instance {
 public:
  // Every problem found goes to problems, one line each; then the result is null.
  static std::unique_ptr<Instance> open(const InstanceOptions& options, Logger& logger,
                                        std::vector<std::string>& problems);

  // In each child, after the fork.
  Result<void> attach();

  // How each part is, as far as this child knows, the well ones included. Reads what is in memory,
  // waits for nothing.
  struct Component {
    const char* name;  // "audit", "keystore", "acls", "signer", "tokens", "maintenance"
    Health health;
    std::string detail;  // with names of files; for administrators only
  };
  std::vector<Component> components() const;
  KeyStore& keys() { return *keys_; }
  const AclFile& acls() const { return *acls_; }
  const DenialRing& denials() const { return *denials_; }
  const InstanceTimes& times() const { return times_; }
  // About once a second, from the maintenance thread.
  void poll() noexcept;
  // At the end of a child.
  void finish() noexcept;

  rest::Service service();
  const hadoop::Settings& settings() const { return settings_; }
  AuditLog& audit() { return *audit_; }
  SignerSecrets& signer() { return *signer_; }
  TokenManager& tokens() { return *tokens_; }
  Groups& groups() { return *groups_; }
  Metrics& metrics() { return *metrics_; }
  // Null when neither a limit nor an alarm is configured.
  Limits* limits() { return limits_ ? &*limits_ : nullptr; }
  const ProxyUsers& proxy_users() const { return *proxy_users_; }
  // hadoop.kms.http.administrators
  const AccessList& administrators() const { return administrators_; }

 private:
  Instance(Logger& logger, void* metrics_region)
      : metrics_(Metrics::open(metrics_region)), logger_(logger, *metrics_) {}
  bool open_policy(const InstanceOptions& options, std::vector<std::string>& problems);
  bool open_signer(const InstanceOptions& options, std::vector<std::string>& problems);
  bool open_tokens(const InstanceOptions& options, std::vector<std::string>& problems);
  bool open_keys(const InstanceOptions& options, std::vector<std::string>& problems);
  bool open_denials(const InstanceOptions& options, std::vector<std::string>& problems);
  bool open_limits(const InstanceOptions& options, std::vector<std::string>& problems);
  bool open_audit(const InstanceOptions& options);

  std::unique_ptr<Metrics> metrics_;
  MeteredLogger logger_;
  hadoop::Settings settings_;
  std::unique_ptr<KeyStore> keys_;
  std::unique_ptr<AclFile> acls_;
  std::unique_ptr<Groups> groups_;
  std::optional<ProxyUsers> proxy_users_;
  AccessList administrators_;
  std::unique_ptr<SignerSecrets> signer_;
  std::unique_ptr<TokenManager> tokens_;
  bool tokens_in_store_ = false;  // of the keys
  std::optional<DenialRing> denials_;  // before audit_, which writes to it
  std::unique_ptr<AuditLog> audit_;
  bool audit_buffered_ = false;
  std::optional<Limits> limits_;
  InstanceTimes times_;
  // What attach() could not open in this child.
  HealthNote keys_attached_, signer_attached_, tokens_attached_;
  std::atomic<std::int64_t> polled_ms_{0};  // steady_ms() of the last poll(); 0: none yet
};

}  // namespace kms
