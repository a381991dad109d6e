// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "audit/denials.h"
#include "core/health.h"
#include "keystore/keystore.h"
#include "limits/limits.h"

namespace kms {

// Everything the status page shows, as plain values; names are as they came.
struct StatusModel {
  std::int64_t now_ms = 0;
  std::string host, software, user;
  long pid = 0;       // of the child that answers
  int refresh_s = 0;  // 0: the page stays as it is
  HealthState state = HealthState::good;

  struct Component {
    std::string name, what;
    Health health;
    std::string detail;
  };
  std::vector<Component> components;  // all, also those that are well
  std::int64_t started_ms = 0, configured_ms = 0, acls_ms = 0;

  bool tls = false;
  struct Certificate {
    std::string file, subject, problem;
    std::int64_t not_after_ms = 0;
  };
  std::vector<Certificate> certificates;

  std::string keystore_uri, keystore_problem;  // problem: the keys could not be listed
  struct Key {
    std::string name;
    MetadataPtr metadata;  // null: not looked at, or unreadable
    bool unreadable = false;
  };
  std::vector<Key> keys;
  std::size_t key_count = 0, keys_not_read = 0;  // keys may be the first of them only

  struct Operation {
    std::string name;
    std::uint64_t ok = 0, denied = 0, limited = 0, client_errors = 0, server_errors = 0;
    double mean_ms = 0, median_ms = 0, p99_ms = 0;
    struct Bucket {
      std::uint64_t count;
      double up_to_ms;  // 0: beyond the last
    };
    std::vector<Bucket> durations;
  };
  std::vector<Operation> operations;

  std::vector<LimitRule> limits;
  std::vector<AlarmRule> alarms;
  Limits::Totals limit_totals{};
  AuditHealth audit;
  std::string audit_target;
  std::vector<DenialRing::Denial> denials;
  std::uint64_t denial_count = 0;
};

// One page without scripts and without anything from elsewhere.
std::string status_page(const StatusModel& model);
// The Content-Security-Policy that goes with it: nothing but its own style sheet.
std::string status_policy();

}  // namespace kms
