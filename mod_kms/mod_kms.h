// SPDX-License-Identifier: Apache-2.0
#pragma once

// httpd, for the files of this folder and for no others. See rest/ for what needs none of it.
#include <httpd.h>
// httpd's own order matters: httpd.h first.
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

extern "C" {
extern module AP_MODULE_DECLARE_DATA __attribute__((visibility("default"))) kms_module;
}
// AP_DECLARE_MODULE says the same in the one file that defines the module.
#ifndef KMS_DEFINES_MODULE
APLOG_USE_MODULE(kms);
#endif
