// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instance.h"
#include "mod_kms.h"
#include "rest/exchange.h"
#include "rest/token_operations.h"

// What requests leave behind in the counters and for the access log: notes kms-op, kms-key,
// kms-user, kms-result, kms-backend-us, and kms-denied in the environment.
namespace kms {

// Before its answer is sent, so that no client has an answer that is not counted.
void count_outcome(request_rec* r, Instance& instance, const rest::Outcome& outcome);
void count_token_operation(request_rec* r, Instance& instance,
                           const rest::TokenOperation& operation, const rest::Answer& answer);

// Hook log_transaction, before mod_log_config: what the client got.
int count_transaction(request_rec* r);

// Registers with mod_status, where it is loaded.
void register_status_hook();

}  // namespace kms
