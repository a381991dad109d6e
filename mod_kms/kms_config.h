// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit/config.h"
#include "certificates.h"
#include "hadoop/settings.h"
#include "instance.h"
#include "logging.h"
#include "mod_kms.h"
#include "pages/pages.h"

namespace kms {

// The attribute Secure of the cookie: by_scheme goes by the connection, which a balancer that ends
// TLS hides.
enum class CookieSecure { by_scheme, always, never };

// The rules of a directive that may stand several times; together they are the value of a property.
struct RuleList {
  std::vector<std::string> rules;
  hadoop::Origin origin;  // of the first
  std::string text() const;
};

// What the directives of one server say. Unset members take their default in lifecycle.cpp.
struct ServerConfig {
  bool own_directives = false;  // any KMS directive but KMSEngine: this server has a KMS of its own
  bool engine_used = false;     // KMSEngine On somewhere in this server
  std::string conf_dir;
  std::vector<hadoop::Override> overrides;
  std::shared_ptr<Secret> keystore_password;
  std::string keystore_password_file;
  std::optional<int> jceks_iterations, lock_timeout_ms;
  std::string token_file;
  std::optional<AuditTarget> audit_log;
  std::optional<AuditFormat> audit_format;
  std::optional<AuditDurability> audit_durability;
  std::optional<bool> audit_chain, audit_aggregate;
  std::string audit_chain_key_file;
  std::optional<CookieSecure> cookie_secure;
  std::optional<std::int64_t> max_request_body;
  std::array<std::optional<PageAccess>, kPageCount> page_access;
  std::optional<RuleList> rate_limits, decrypt_alarms;

  // For the status page.
  bool tls = false;
  std::vector<Certificate> certificates;

  // Set by post_config; shared by the servers that have no directives of their own. Lives until the
  // configuration pool is cleared.
  Instance* instance = nullptr;
};

struct DirConfig {
  int engine = -1;  // -1 unset
};

inline constexpr std::int64_t kDefaultMaxRequestBody = 64 * 1024 * 1024;

ServerConfig& server_config(const server_rec* server);
bool engine_on(const request_rec* r);

void* create_server_config(apr_pool_t* pool, server_rec* server);
void* merge_server_config(apr_pool_t* pool, void* base, void* overlay);
void* create_dir_config(apr_pool_t* pool, char* dir);
void* merge_dir_config(apr_pool_t* pool, void* base, void* overlay);

extern const command_rec kDirectives[];

}  // namespace kms
