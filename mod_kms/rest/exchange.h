// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <jansson.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "acl/acl_file.h"
#include "acl/acl_set.h"
#include "audit/audit.h"
#include "auth/groups.h"
#include "core/result.h"
#include "core/secret.h"
#include "hadoop/wire_json.h"
#include "keystore/keystore.h"
#include "limits/limits.h"
#include "metrics/metrics.h"
#include "rest/path.h"
#include "rest/query.h"

namespace kms::rest {

// Who asks. full is the name in audit lines (the Kerberos principal), short_name what ACLs look at.
// With doAs they are those of the doAs user, and real_short the short name of the one who acts.
struct Identity {
  std::string full, short_name;
  std::string real_full, real_short;
};

// The body of a request, read when a route wants it and not before.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // Error too_large past the configured limit, io when the client went away.
  virtual Result<Secret> read() = 0;
};

struct Request {
  std::string_view method;
  std::string_view raw_path;  // as sent, without query
  std::string_view raw_query;
  std::string_view base_url;  // "http://host:port", from scheme and Host header
  std::string_view remote_ip;
  std::string_view id;           // for the audit log; may be empty
  std::int64_t received_us = 0;  // now_us() when it came; 0: unknown
  std::optional<std::string_view> content_type, accept, origin;
  BodySource* body = nullptr;
};

// What a request turned out to be, for metrics and access logs.
struct Outcome {
  MetricOp op = MetricOp::other;
  MetricResult result = MetricResult::ok;
  std::string key;              // as in the audit line; may be empty
  std::int64_t backend_us = 0;  // of the time, that of look-ups, cryptography and audit
};

struct Answer {
  int status = 200;
  std::string content_type = "application/json";
  std::string text;         // the body, or
  Secret secret_text;       // the body where it carries material
  std::string html_reason;  // not empty: no such body, but a page with this reason phrase
  bool clears_cookie = false;
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<ErrorKind> failure;  // set on error answers, for the log
  std::string failure_text;
  Outcome outcome{};

  static Answer json(std::string body) {
    Answer a;
    a.text = std::move(body);
    return a;
  }
  static Answer empty() {
    Answer a;
    a.content_type = "text/plain;charset=utf-8";
    return a;
  }
};

// What the operations work on: one for each configured KMS, shared by all threads of a child.
struct Service {
  KeyStore& keys;
  AclFile& acls;
  Groups& groups;
  AuditLog& audit;
  Limits* limits;  // null: none configured
  bool key_authorization;
  std::string default_cipher;
  std::int32_t default_bit_length;
  Metrics* metrics = nullptr;  // may be null
};

struct Operation;  // routes.h

// A key that a request touches, for the key-level check: its ACL name.
struct TouchedKey {
  std::string acl_name;
};

// One request on its way through the loop of dispatch.h.
struct Exchange {
  Service& service;
  const Request& request;
  const Identity& identity;
  Query query;
  std::string name;  // NAME or VERSION of the path
  hadoop::JsonPtr body{};
  std::optional<Query> form{};  // of a body that is one

  // Filled by the checks of an operation for its run.
  std::string_view audit_key{};         // key shown in messages and audit lines
  bool wants_key_material_acl = false;  // SET_KEY_MATERIAL is needed as well
  std::vector<TouchedKey> touched{};
  std::string limited_key{};  // as stored; empty when there is no such key, or no limits
  std::string audit_extra{};
  std::string_view audit_version{};      // key version shown in JSON audit lines; a text that stays
  bool audited = false;                  // the OK line is written
  const Operation* operation = nullptr;  // once selected
  std::optional<MetricResult> denial{};  // of the op, or of a key
  std::int64_t begun_us = 0;             // now_us() when the work began; 0: it did not
  std::optional<KeyOptions> create_options{};
  std::optional<Secret> material{};
  VersionPtr version{};  // of VERSION in the path
  Bytes iv{}, eek{};
  std::int64_t wanted_keys = 1;  // num_keys
  std::vector<VersionPtr> batch_versions{};
  std::optional<KeyState> new_state{};

  // Writes the OK line. The loop does so after the work; a handler that changes the store hands
  // this to it as the approval, so that nothing becomes durable without its line.
  Result<void> record_done();
  const AclSet& acls() const { return service.acls.current(); }
  Caller caller() const { return {identity.short_name, identity.real_short}; }
  bool op_allowed(OpAcl type) const { return acls().op_allowed(type, caller(), service.groups); }
  // Adds the key for the key-level check; nothing when it does not exist.
  Result<void> touch(std::string_view key_name);
  // The same for a deleted one.
  Result<void> touch_deleted(std::string_view key_name);
};

}  // namespace kms::rest
