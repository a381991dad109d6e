// SPDX-License-Identifier: Apache-2.0
#include "acl/operations.h"

namespace kms {
namespace {

using std::nullopt;

constexpr AclOperation kOperations[] = {
    {"CREATE_KEY", OpAcl::create, nullopt, KeyOp::management, true},
    {"ROLL_NEW_VERSION", OpAcl::rollover, nullopt, KeyOp::management, true},
    {"DELETE_KEY", OpAcl::delete_key, nullopt, KeyOp::management},
    {"INVALIDATE_CACHE", OpAcl::rollover, OpAcl::delete_key, KeyOp::management},
    {"GET_KEYS", OpAcl::get_keys, nullopt, nullopt},
    {"GET_KEYS_METADATA", OpAcl::get_metadata, nullopt, KeyOp::read},
    {"GET_METADATA", OpAcl::get_metadata, nullopt, KeyOp::read},
    {"GET_CURRENT_KEY", OpAcl::get, nullopt, KeyOp::read},
    {"GET_KEY_VERSION", OpAcl::get, nullopt, KeyOp::read},
    {"GET_KEY_VERSIONS", OpAcl::get, nullopt, KeyOp::read},
    {"GENERATE_EEK", OpAcl::generate_eek, nullopt, KeyOp::generate_eek},
    {"DECRYPT_EEK", OpAcl::decrypt_eek, nullopt, KeyOp::decrypt_eek},
    {"REENCRYPT_EEK", OpAcl::generate_eek, nullopt, KeyOp::generate_eek},
    {"REENCRYPT_EEK_BATCH", OpAcl::generate_eek, nullopt, KeyOp::generate_eek},
    {"UNDELETE_KEY", OpAcl::undelete, nullopt, KeyOp::management},
    {"PURGE_KEY", OpAcl::purge, nullopt, KeyOp::management},
    {"SET_KEY_STATE", OpAcl::key_state, nullopt, KeyOp::management},
    {"GET_KEY_STATE", OpAcl::get_metadata, nullopt, KeyOp::read},
    {"GET_DELETED_KEYS", OpAcl::undelete, OpAcl::purge, nullopt},

    {"CREATE", OpAcl::create, nullopt, KeyOp::management, true, false},
    {"DELETE", OpAcl::delete_key, nullopt, KeyOp::management, false, false},
    {"ROLLOVER", OpAcl::rollover, nullopt, KeyOp::management, true, false},
    {"GET", OpAcl::get, nullopt, KeyOp::read, false, false},
    {"UNDELETE", OpAcl::undelete, nullopt, KeyOp::management, false, false},
    {"PURGE", OpAcl::purge, nullopt, KeyOp::management, false, false},
    {"KEY_STATE", OpAcl::key_state, nullopt, KeyOp::management, false, false},
    {"SET_KEY_MATERIAL", OpAcl::set_key_material, nullopt, nullopt, false, false},
    {"READ", nullopt, nullopt, KeyOp::read, false, false},
    {"MANAGEMENT", nullopt, nullopt, KeyOp::management, false, false},
};

}  // namespace

std::span<const AclOperation> acl_operations() {
  return kOperations;
}

const AclOperation* find_acl_operation(std::string_view name) {
  for (const AclOperation& operation : kOperations)
    if (operation.name == name) return &operation;
  return nullptr;
}

}  // namespace kms
