// SPDX-License-Identifier: Apache-2.0
#include "rest/limiting.h"

#include "audit/denials.h"
#include "core/clock.h"

namespace kms::rest {
namespace {

LimitClass class_of(const Operation& op) {
  switch (op.acl) {
    case OpAcl::decrypt_eek:
      return LimitClass::decrypt;
    case OpAcl::generate_eek:
      return LimitClass::generate;
    case OpAcl::create:
    case OpAcl::delete_key:
    case OpAcl::rollover:
    case OpAcl::set_key_material:
    case OpAcl::undelete:
    case OpAcl::purge:
    case OpAcl::key_state:
      return LimitClass::manage;
    case OpAcl::get:
    case OpAcl::get_keys:
    case OpAcl::get_metadata:
      break;
  }
  return LimitClass::read;
}

// A request for many EEKs counts as many.
std::int64_t cost_of(const Exchange& x) {
  if (x.body != nullptr && json_is_array(x.body.get()))
    return static_cast<std::int64_t>(json_array_size(x.body.get()));
  return x.wanted_keys;
}

// The key as it is stored, so that another spelling is no other bucket; empty for a key that does
// not exist, whose names are endless.
std::string_view key_of(const Operation& op, const Exchange& x) {
  if (!op.shows_key) return {};
  if (op.acl == OpAcl::create) return x.audit_key;
  if (x.version != nullptr) return x.version->name;
  if (x.limited_key.empty() && !x.batch_versions.empty()) return x.batch_versions.front()->name;
  return x.limited_key;
}

Result<void> charge(LimitScope scope, std::string_view name, const Operation& op, const Exchange& x,
                    Limits::Charges& charges) {
  const auto refusal =
      x.service.limits->charge(scope, class_of(op), name, cost_of(x), steady_ns(), charges);
  if (!refusal.has_value()) return {};
  Error error(ErrorKind::rate_limited,
              "Too many requests for this " + std::string(limit_scope_name(scope)) +
                  ": the limit is '" + refusal->rule->text + "', try again in " +
                  std::to_string(refusal->retry_after_s) + " s");
  error.retry_after_s = refusal->retry_after_s;
  AuditEvent event;
  event.status = AuditStatus::error;
  event.op = op.audit_name;
  if (op.shows_key && !x.audit_key.empty()) event.key = x.audit_key;
  event.user = x.identity.full;
  event.real_user = x.identity.real_full;
  event.remote_address = x.request.remote_ip;
  event.request_id = x.request.id;
  event.received_us = x.request.received_us;
  event.version = x.audit_version;
  const std::string extra = std::string(kRateLimitMark) + "'" + refusal->rule->text + "'";
  event.extra = extra;
  KMS_TRY(x.service.audit.record(event));
  return error;
}

}  // namespace

Result<void> limit_user(const Operation& op, const Exchange& x, Limits::Charges& charges) {
  if (x.service.limits == nullptr) return {};
  return charge(LimitScope::user, x.identity.short_name, op, x, charges);
}

Result<void> limit_key(const Operation& op, const Exchange& x, Limits::Charges& charges) {
  if (x.service.limits == nullptr) return {};
  const std::string_view key = key_of(op, x);
  return key.empty() ? Result<void>() : charge(LimitScope::key, key, op, x, charges);
}

void watch_decrypts(const Operation& op, const Exchange& x) {
  if (x.service.limits == nullptr || op.acl != OpAcl::decrypt_eek || x.version == nullptr) return;
  x.service.limits->decrypted(x.identity.short_name, x.version->name, steady_ns());
}

}  // namespace kms::rest
