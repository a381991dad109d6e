// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rest/exchange.h"
#include "rest/routes.h"

// The handlers that the route table names. They check arguments and do the work; who may do it, the
// audit line and the answer's headers are the loop's.
namespace kms::rest {

// What key ACLs call the key: its key.acl.name, or its name.
const std::string& acl_name_of(const KeyMetadata& metadata);

// NAME as asked for, with the number of the version: what Java echoes for "ME-UP".
std::string requested_version_name(std::string_view name, const KeyVersion& version);

// select: before the op ACL
Result<void> require_name(const Exchange& x);
Result<const Operation*> select_keyversion_eek(Exchange& x);

// keys
Result<void> resolve_create(Exchange& x);
Result<Answer> run_create(Exchange& x);
Result<void> resolve_roll(Exchange& x);
Result<Answer> run_roll(Exchange& x);
Result<void> resolve_named_key(Exchange& x);
Result<void> resolve_delete(Exchange& x);
Result<Answer> run_delete(Exchange& x);
Result<Answer> run_invalidate(Exchange& x);
Result<Answer> run_names(Exchange& x);
Result<void> resolve_bulk_metadata(Exchange& x);
Result<Answer> run_bulk_metadata(Exchange& x);
Result<Answer> run_metadata(Exchange& x);
Result<Answer> run_current(Exchange& x);
Result<Answer> run_versions(Exchange& x);
Result<void> resolve_version(Exchange& x);
Result<Answer> run_version(Exchange& x);

// states of keys
// Error key_state when the state of the key forbids it; nothing when there is no such key.
Result<void> require_use(Exchange& x, std::string_view key_name, KeyUse use);
// The state that a new key begins with, out of its attributes.
Result<void> take_first_state(const KeyStore& keys, KeyOptions& options);
Result<void> resolve_state_change(Exchange& x);
Result<Answer> run_set_state(Exchange& x);
Result<Answer> run_state(Exchange& x);

// deleted keys
Result<const Operation*> select_trustee_op(Exchange& x);
Result<void> resolve_deleted_key(Exchange& x);
Result<Answer> run_undelete(Exchange& x);
Result<Answer> run_purge(Exchange& x);
Result<Answer> run_deleted_keys(Exchange& x);

// encrypted keys
Result<void> check_generate(Exchange& x);
Result<Answer> run_generate(Exchange& x);
Result<void> resolve_eek(Exchange& x);
Result<Answer> run_decrypt(Exchange& x);
Result<Answer> run_reencrypt(Exchange& x);
Result<void> check_batch(Exchange& x);
Result<void> resolve_batch(Exchange& x);
Result<Answer> run_batch(Exchange& x);

extern const Operation kDecryptEek;
extern const Operation kReencryptEek;
extern const Operation kUndelete;
extern const Operation kPurge;

}  // namespace kms::rest
