// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "acl/acl_set.h"
#include "rest/exchange.h"

namespace kms::rest {

// What a request does, as ACLs and the audit log see it (the table of kms-auth.md 6.4).
struct Operation {
  std::string_view audit_name;  // KMSOp
  OpAcl acl;
  std::optional<OpAcl> or_acl;  // this op ACL is enough as well
  bool shows_key;               // the key is part of denial messages and audit lines
  std::optional<KeyOp> key_op;  // key-level check; nullopt: none
  enum class KeyDenial { authorization, creation, wrapped_io } key_denial;
  // After the op ACL: argument checks, and the keys that the key-level check needs. May be null.
  Result<void> (*resolve)(Exchange&);
  // After all checks. Answers only; audit and metrics are the loop's.
  Result<Answer> (*run)(Exchange&);
  MetricOp metric;
  // The Java meter, and when it counts (kms-auth.md 9): as soon as the operation is known, before
  // the op ACL, or after success. Those that count at entry are in the route.
  std::optional<JavaMeter> meter{};
  bool meters_success = false;
};

enum class BodyKind { none, object, array, form };  // form: only where it is sent as one

struct Route {
  Resource resource;
  std::string_view method;
  BodyKind body;
  bool checks_accept;
  // Before the op ACL: argument checks, and which operation this is.
  Result<const Operation*> (*select)(Exchange&);
  std::optional<JavaMeter> entry_meter{};  // counts before any check but those of the body
};

// Every method of every resource; what is not here is refused.
std::span<const Route> routes();

}  // namespace kms::rest
