// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "command.h"
#include "rest.h"

namespace kmsctl {

int run_key_list(Invocation& call);
int run_key_show(Invocation& call);
int run_key_create(Invocation& call);
int run_key_roll(Invocation& call);
int run_key_delete(Invocation& call);
int run_key_undelete(Invocation& call);
int run_key_purge(Invocation& call);
int run_key_state(Invocation& call);
int run_key_export(Invocation& call);
int run_key_import(Invocation& call);

// The names of all keys, sorted.
Result<std::vector<std::string>> key_names(RestClient& client);
// Metadata of the keys, in their order; an empty object for a key that does not exist.
Result<JsonPtr> key_metadata(RestClient& client, const std::vector<std::string>& names);
// After roll and delete, for servers that keep keys in a cache, as the Java client does.
void invalidate(RestClient& client, const std::string& name, Output& out);

}  // namespace kmsctl
