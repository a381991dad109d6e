// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instance.h"
#include "request_state.h"

namespace kms {

// Does the token operation of an authenticated request and answers it.
int serve_token_operation(request_rec* r, Instance& instance, const RequestState& state);

// Cancels a token for whoever holds it: the token alone decides, nobody is asked who he is.
int cancel_as_holder(request_rec* r, Instance& instance, const RequestState& state);

}  // namespace kms
