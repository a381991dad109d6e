// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "command.h"
#include "keystore/keystore.h"
#include "rest.h"

namespace kmsctl {

// Whether text names a KMS that serves, as http://host:port/kms or kms://http@host:port/kms.
bool is_served(std::string_view text);

// The keys of such a KMS, of whatever make and keystore, as its REST API shows them to a user who
// may GET_KEYS, GET_METADATA and GET. For one thread, and to be read only: changes are an error
// (unsupported). options must be given for good. Errors: those of RestClient; unsupported for
// material that is not given out.
std::unique_ptr<kms::KeyStore> open_served_keys(std::shared_ptr<const RestOptions> options);

}  // namespace kmsctl
