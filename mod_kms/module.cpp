// SPDX-License-Identifier: Apache-2.0
// The module record and its hooks; everything else is called from here.
#define KMS_DEFINES_MODULE
#include "audit_program.h"
#include "authentication.h"
#include "handler.h"
#include "kms_config.h"
#include "lifecycle.h"
#include "metering.h"
#include "mod_kms.h"

#include <mpm_common.h>

namespace {

void register_hooks(apr_pool_t*) {
  ap_hook_pre_config(kms::pre_config, nullptr, nullptr, APR_HOOK_MIDDLE);
  ap_hook_check_config(kms::check_config, nullptr, nullptr, APR_HOOK_MIDDLE);
  // After mod_ssl, whose library set-up OpenSSL's secure heap must not precede.
  static const char* const after[] = {"mod_ssl.c", nullptr};
  ap_hook_post_config(kms::post_config, after, nullptr, APR_HOOK_MIDDLE);
  ap_hook_child_init(kms::child_init, after, nullptr, APR_HOOK_MIDDLE);
  ap_hook_monitor(kms::monitor_audit_programs, nullptr, nullptr, APR_HOOK_MIDDLE);
  ap_hook_translate_name(kms::translate_name, nullptr, nullptr, APR_HOOK_FIRST);
  ap_hook_map_to_storage(kms::map_to_storage, nullptr, nullptr, APR_HOOK_FIRST);
  // First: a valid cookie or token settles the user before mod_auth_gssapi would ask.
  ap_hook_check_authn(kms::check_authn, nullptr, nullptr, APR_HOOK_FIRST,
                      AP_AUTH_INTERNAL_PER_CONF);
  ap_hook_check_authz(kms::after_authn, nullptr, nullptr, APR_HOOK_FIRST,
                      AP_AUTH_INTERNAL_PER_CONF);
  ap_hook_insert_error_filter(kms::complete_refusal, nullptr, nullptr, APR_HOOK_MIDDLE);
  ap_hook_log_transaction(kms::count_transaction, nullptr, nullptr, APR_HOOK_FIRST);
  kms::register_status_hook();
  ap_hook_handler(kms::handle_request, nullptr, nullptr, APR_HOOK_FIRST);
}

}  // namespace

extern "C" {
AP_DECLARE_MODULE(kms) = {
    STANDARD20_MODULE_STUFF,  kms::create_dir_config,
    kms::merge_dir_config,    kms::create_server_config,
    kms::merge_server_config, kms::kDirectives,
    register_hooks,           0,
};
}
