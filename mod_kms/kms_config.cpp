// SPDX-License-Identifier: Apache-2.0
#include "kms_config.h"

#include "guard.h"

namespace kms {

std::string RuleList::text() const {
  std::string text;
  for (const std::string& rule : rules) text += (text.empty() ? "" : "; ") + rule;
  return text;
}

ServerConfig& server_config(const server_rec* server) {
  return *static_cast<ServerConfig*>(ap_get_module_config(server->module_config, &kms_module));
}

bool engine_on(const request_rec* r) {
  const auto* config =
      static_cast<const DirConfig*>(ap_get_module_config(r->per_dir_config, &kms_module));
  return config != nullptr && config->engine == 1;
}

void* create_server_config(apr_pool_t* pool, server_rec*) {
  return own(pool, new ServerConfig);
}

void* merge_server_config(apr_pool_t* pool, void* base_ptr, void* overlay_ptr) {
  const auto& base = *static_cast<ServerConfig*>(base_ptr);
  const auto& overlay = *static_cast<ServerConfig*>(overlay_ptr);
  auto* merged = own(pool, new ServerConfig(overlay));
  if (merged->conf_dir.empty()) merged->conf_dir = base.conf_dir;
  merged->overrides.insert(merged->overrides.begin(), base.overrides.begin(), base.overrides.end());
  if (merged->keystore_password == nullptr && merged->keystore_password_file.empty()) {
    merged->keystore_password = base.keystore_password;
    merged->keystore_password_file = base.keystore_password_file;
  }
  if (!merged->jceks_iterations) merged->jceks_iterations = base.jceks_iterations;
  if (!merged->lock_timeout_ms) merged->lock_timeout_ms = base.lock_timeout_ms;
  if (merged->token_file.empty()) merged->token_file = base.token_file;
  if (!merged->audit_log) merged->audit_log = base.audit_log;
  if (!merged->audit_format) merged->audit_format = base.audit_format;
  if (!merged->audit_durability) merged->audit_durability = base.audit_durability;
  if (!merged->audit_chain) merged->audit_chain = base.audit_chain;
  if (merged->audit_chain_key_file.empty())
    merged->audit_chain_key_file = base.audit_chain_key_file;
  if (!merged->audit_aggregate) merged->audit_aggregate = base.audit_aggregate;
  if (!merged->cookie_secure) merged->cookie_secure = base.cookie_secure;
  if (!merged->rate_limits) merged->rate_limits = base.rate_limits;
  if (!merged->decrypt_alarms) merged->decrypt_alarms = base.decrypt_alarms;
  if (!merged->max_request_body) merged->max_request_body = base.max_request_body;
  for (std::size_t i = 0; i < kPageCount; ++i)
    if (!merged->page_access[i]) merged->page_access[i] = base.page_access[i];
  return merged;
}

void* create_dir_config(apr_pool_t* pool, char*) {
  auto* config = static_cast<DirConfig*>(apr_palloc(pool, sizeof(DirConfig)));
  return new (config) DirConfig;
}

void* merge_dir_config(apr_pool_t* pool, void* base_ptr, void* overlay_ptr) {
  const auto& base = *static_cast<DirConfig*>(base_ptr);
  const auto& overlay = *static_cast<DirConfig*>(overlay_ptr);
  auto* merged = static_cast<DirConfig*>(create_dir_config(pool, nullptr));
  merged->engine = overlay.engine != -1 ? overlay.engine : base.engine;
  return merged;
}

}  // namespace kms
