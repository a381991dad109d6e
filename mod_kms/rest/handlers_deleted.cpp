// SPDX-License-Identifier: Apache-2.0
// Keys that were deleted and are kept: list, undelete, purge, as a Key Trustee KMS has them.
#include "rest/handlers.h"

namespace kms::rest {
namespace {

constexpr std::string_view kParameter = "trusteeOp";

}  // namespace

Result<void> Exchange::touch_deleted(std::string_view key_name) {
  auto found = service.keys.deleted_key(key_name);
  if (!found.ok()) return std::move(found).error();
  if (!found->has_value()) return {};
  const KeyMetadata& metadata = *(*found)->metadata;
  if (service.limits != nullptr) limited_key = metadata.name;
  touched.push_back({acl_name_of(metadata)});
  return {};
}

// A page of another site can make a browser send a form with the user's cookie or ticket; it cannot
// keep the browser from saying where it comes from.
Result<const Operation*> select_trustee_op(Exchange& x) {
  KMS_TRY(require_name(x));
  x.audit_key = x.name;
  if (x.request.origin.has_value())
    return Error(ErrorKind::invalid_argument,
                 "A request with an Origin, as pages in browsers send it, is not taken here");
  const auto asked = x.query.first(kParameter);
  const auto in_form = x.form.has_value() ? x.form->first(kParameter) : std::nullopt;
  if (asked.has_value() && in_form.has_value() && !same_letters(*asked, *in_form))
    return Error(ErrorKind::invalid_argument, "Parameter 'trusteeOp' is there with two values");
  const std::string_view op = asked.value_or(in_form.value_or(""));
  if (same_letters(op, "undelete")) return &kUndelete;
  if (same_letters(op, "purge")) return &kPurge;
  return Error(ErrorKind::invalid_argument, "Parameter 'trusteeOp' must be undelete or purge");
}

Result<void> resolve_deleted_key(Exchange& x) {
  return x.touch_deleted(x.name);
}

Result<Answer> run_undelete(Exchange& x) {
  KMS_TRY(x.service.keys.undelete(x.name, [&x](const KeyVersion*) { return x.record_done(); }));
  return Answer::empty();
}

Result<Answer> run_purge(Exchange& x) {
  KMS_TRY(x.service.keys.purge(x.name, [&x](const KeyVersion*) { return x.record_done(); }));
  return Answer::empty();
}

// Those that the key ACLs would let the caller undelete or purge.
Result<Answer> run_deleted_keys(Exchange& x) {
  auto found = x.service.keys.deleted_keys();
  if (!found.ok()) return std::move(found).error();
  hadoop::JsonPtr list(json_array());
  for (const DeletedKey& key : *found) {
    if (x.service.key_authorization &&
        !x.acls()
             .key_allowed(acl_name_of(*key.metadata), KeyOp::management, x.caller(),
                          x.service.groups)
             .allowed)
      continue;
    hadoop::JsonPtr one = hadoop::metadata_json(key.metadata->name, *key.metadata);
    json_object_set_new(one.get(), "deleted", json_integer(key.deleted_ms));
    json_array_append_new(list.get(), one.release());
  }
  return Answer::json(hadoop::dump_json(list.get()));
}

}  // namespace kms::rest
