// SPDX-License-Identifier: Apache-2.0
#include "rest/routes.h"

#include "rest/handlers.h"

namespace kms::rest {
namespace {

using Denial = Operation::KeyDenial;

// name, op ACL, or, shows key, key ACL, form of a key-level denial, resolve, run,
// metric, Java meter, counts after success
constexpr Operation kCreate{"CREATE_KEY",   OpAcl::create,     std::nullopt,
                            true,           KeyOp::management, Denial::creation,
                            resolve_create, run_create,        MetricOp::create_key};
constexpr Operation kRoll{"ROLL_NEW_VERSION", OpAcl::rollover,       std::nullopt, true,
                          KeyOp::management,  Denial::authorization, resolve_roll, run_roll,
                          MetricOp::roll_key};
constexpr Operation kDelete{"DELETE_KEY",   OpAcl::delete_key, std::nullopt,
                            true,           KeyOp::management, Denial::authorization,
                            resolve_delete, run_delete,        MetricOp::delete_key};
constexpr Operation kInvalidate{
    "INVALIDATE_CACHE",        OpAcl::rollover,       OpAcl::delete_key, true,
    KeyOp::management,         Denial::authorization, resolve_named_key, run_invalidate,
    MetricOp::invalidate_cache};
constexpr Operation kNames{"GET_KEYS", OpAcl::get_keys, std::nullopt,
                           false,      std::nullopt,    Denial::authorization,
                           nullptr,    run_names,       MetricOp::get_keys};
constexpr Operation kBulkMetadata{"GET_KEYS_METADATA",
                                  OpAcl::get_metadata,
                                  std::nullopt,
                                  false,
                                  KeyOp::read,
                                  Denial::authorization,
                                  resolve_bulk_metadata,
                                  run_bulk_metadata,
                                  MetricOp::get_keys_metadata};
constexpr Operation kMetadata{"GET_METADATA",
                              OpAcl::get_metadata,
                              std::nullopt,
                              true,
                              KeyOp::read,
                              Denial::authorization,
                              resolve_named_key,
                              run_metadata,
                              MetricOp::get_metadata,
                              JavaMeter::admin};
constexpr Operation kCurrent{"GET_CURRENT_KEY",
                             OpAcl::get,
                             std::nullopt,
                             true,
                             KeyOp::read,
                             Denial::authorization,
                             resolve_named_key,
                             run_current,
                             MetricOp::get_current_key,
                             JavaMeter::key};
constexpr Operation kVersions{"GET_KEY_VERSIONS",
                              OpAcl::get,
                              std::nullopt,
                              true,
                              KeyOp::read,
                              Denial::authorization,
                              resolve_named_key,
                              run_versions,
                              MetricOp::get_key_versions,
                              JavaMeter::key};
// The denial has no key, as Java's: the version's key is looked up only after the op ACL.
constexpr Operation kVersion{"GET_KEY_VERSION",
                             OpAcl::get,
                             std::nullopt,
                             true,
                             KeyOp::read,
                             Denial::authorization,
                             resolve_version,
                             run_version,
                             MetricOp::get_key_version,
                             JavaMeter::key};
// Java wraps this one denial into an IOException and answers 500; docs/compatibility.md says why we
// do too.
constexpr Operation kGenerate{"GENERATE_EEK",
                              OpAcl::generate_eek,
                              std::nullopt,
                              true,
                              KeyOp::generate_eek,
                              Denial::wrapped_io,
                              resolve_named_key,
                              run_generate,
                              MetricOp::generate_eek,
                              JavaMeter::generate_eek,
                              true};
constexpr Operation kBatch{
    "REENCRYPT_EEK_BATCH",         OpAcl::generate_eek,           std::nullopt,  true,
    KeyOp::generate_eek,           Denial::authorization,         resolve_batch, run_batch,
    MetricOp::reencrypt_eek_batch, JavaMeter::reencrypt_eek_batch};

constexpr Operation kDeletedKeys{"GET_DELETED_KEYS",
                                 OpAcl::undelete,
                                 OpAcl::purge,
                                 false,
                                 std::nullopt,
                                 Denial::authorization,
                                 nullptr,
                                 run_deleted_keys,
                                 MetricOp::get_deleted_keys};

constexpr Operation kState{"GET_KEY_STATE",
                           OpAcl::get_metadata,
                           std::nullopt,
                           true,
                           KeyOp::read,
                           Denial::authorization,
                           resolve_named_key,
                           run_state,
                           MetricOp::get_key_state};
constexpr Operation kSetState{
    "SET_KEY_STATE",        OpAcl::key_state,      std::nullopt,         true,
    KeyOp::management,      Denial::authorization, resolve_state_change, run_set_state,
    MetricOp::set_key_state};

// Selectors: the checks that come before the op ACL, and what the operation is.
template <const Operation& kOperation>
Result<const Operation*> always(Exchange&) {
  return &kOperation;
}

template <const Operation& kOperation>
Result<const Operation*> for_name(Exchange& x) {
  KMS_TRY(require_name(x));
  x.audit_key = x.name;
  return &kOperation;
}

// Delete and roll look at the op ACL before they look at the name.
template <const Operation& kOperation>
Result<const Operation*> for_any_name(Exchange& x) {
  x.audit_key = x.name;
  return &kOperation;
}

Result<const Operation*> for_new_key(Exchange& x) {
  if (x.body == nullptr) {
    return Error(ErrorKind::null_value,
                 "Cannot invoke \"java.util.Map.get(Object)\" because \"jsonKey\" is null");
  }
  auto name = hadoop::string_member(x.body.get(), "name");
  if (!name.ok()) return std::move(name).error();
  if (*name == nullptr)
    return Error(ErrorKind::invalid_argument, "Parameter 'name' cannot be null");
  x.audit_key = hadoop::text_of(*name);
  if (x.audit_key.empty())
    return Error(ErrorKind::invalid_argument, "Parameter 'name' cannot be empty");
  return &kCreate;
}

Result<const Operation*> for_version(Exchange& x) {
  if (x.name.empty())
    return Error(ErrorKind::invalid_argument, "Parameter 'versionName' cannot be empty");
  return &kVersion;
}

Result<const Operation*> for_generate(Exchange& x) {
  KMS_TRY(check_generate(x));
  x.audit_key = x.name;
  return &kGenerate;
}

Result<const Operation*> for_batch(Exchange& x) {
  KMS_TRY(check_batch(x));
  x.audit_key = x.name;
  return &kBatch;
}

constexpr Route kRoutes[] = {
    {Resource::keys, "POST", BodyKind::object, true, for_new_key, JavaMeter::admin},
    {Resource::key_names, "GET", BodyKind::none, true, always<kNames>, JavaMeter::admin},
    {Resource::keys_metadata, "GET", BodyKind::none, true, always<kBulkMetadata>, JavaMeter::admin},
    {Resource::key, "GET", BodyKind::none, false, for_name<kMetadata>},
    {Resource::key, "POST", BodyKind::object, true, for_any_name<kRoll>, JavaMeter::admin},
    {Resource::key, "DELETE", BodyKind::none, false, for_any_name<kDelete>, JavaMeter::admin},
    {Resource::key_metadata, "GET", BodyKind::none, true, for_name<kMetadata>},
    {Resource::current_version, "GET", BodyKind::none, true, for_name<kCurrent>},
    {Resource::key_versions, "GET", BodyKind::none, true, for_name<kVersions>},
    {Resource::key_eek, "GET", BodyKind::none, true, for_generate},
    {Resource::invalidate_cache, "POST", BodyKind::none, false, for_name<kInvalidate>,
     JavaMeter::admin},
    {Resource::reencrypt_batch, "POST", BodyKind::array, true, for_batch},
    {Resource::key_state, "GET", BodyKind::none, true, for_name<kState>},
    {Resource::key_state, "POST", BodyKind::object, true, for_name<kSetState>},
    {Resource::key_version, "GET", BodyKind::none, true, for_version},
    {Resource::key_version_eek, "POST", BodyKind::object, true, select_keyversion_eek},
    {Resource::trustee_keys, "GET", BodyKind::none, true, always<kDeletedKeys>},
    {Resource::trustee_key, "POST", BodyKind::form, false, select_trustee_op},
};

}  // namespace

const Operation kDecryptEek{"DECRYPT_EEK",         OpAcl::decrypt_eek,    std::nullopt, true,
                            KeyOp::decrypt_eek,    Denial::authorization, resolve_eek,  run_decrypt,
                            MetricOp::decrypt_eek, JavaMeter::decrypt_eek};
const Operation kReencryptEek{
    "REENCRYPT_EEK",         OpAcl::generate_eek,     std::nullopt, true,
    KeyOp::generate_eek,     Denial::authorization,   resolve_eek,  run_reencrypt,
    MetricOp::reencrypt_eek, JavaMeter::reencrypt_eek};

const Operation kUndelete{
    "UNDELETE_KEY",        OpAcl::undelete,       std::nullopt,        true,
    KeyOp::management,     Denial::authorization, resolve_deleted_key, run_undelete,
    MetricOp::undelete_key};
const Operation kPurge{"PURGE_KEY",        OpAcl::purge,          std::nullopt,        true,
                       KeyOp::management,  Denial::authorization, resolve_deleted_key, run_purge,
                       MetricOp::purge_key};

std::span<const Route> routes() {
  return kRoutes;
}

}  // namespace kms::rest
