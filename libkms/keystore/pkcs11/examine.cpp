// SPDX-License-Identifier: Apache-2.0
// Both sides compared, for kmsctl: a process that serves nothing and ends soon.
#include "core/hex.h"
#include "keystore/pkcs11/metadata_file.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/pkcs11/previous.h"
#include "keystore/pkcs11/shared.h"
#include "keystore/pkcs11/uri.h"
#include "keystore/pkcs11/visit.h"

namespace kms::pkcs11 {
namespace {

Result<std::vector<Finding>> compare(Visit& visit, const State& state) {
  std::vector<Finding> findings;
  KnownObjects known{state.store_id, {}, {}};
  for (const auto& [name, record] : state.keys) {
    for (const TokenVersionPtr& version : record.versions) {
      if (version->outside()) {
        findings.push_back(
            {Finding::Kind::outside, version->version_name, {}, "in the previous keystore"});
        continue;
      }
      auto finding = look_at_object(visit, *version->key);
      if (!finding.ok()) return std::move(finding).error();
      findings.push_back(std::move(*finding));
      known.of_versions.insert(version->key->id);
    }
  }
  for (const Pending& each : state.pending) known.pending.insert(each.id);
  auto keys = visit.keys();
  if (!keys.ok()) return std::move(keys).error();
  add_others(*keys, known, findings);
  return findings;
}

void add_late_ones(const StoreOptions& options, const State& state, Logger& logger,
                   TokenReport& report) {
  if (options.previous.uri.empty()) return;
  auto previous = options.previous.open(logger, true);
  auto late = previous.ok() ? made_since(state, **previous) : std::move(previous).error();
  report.facts.emplace_back(
      "previous keystore",
      options.previous.uri + (late.ok() ? "" : ": cannot be opened: " + late.error().message));
  if (!late.ok()) return;
  for (const std::string& version : *late)
    report.findings.push_back(
        {Finding::Kind::late,
         version,
         {},
         "made by the previous keystore after the key was adopted: the HSM has another of this "
         "name, and what the late one encrypted cannot be read here"});
}

}  // namespace

Result<TokenReport> examine(const StoreOptions& options, Logger& logger) {
  auto uri = parse_store_uri(options.uri);
  if (!uri.ok()) return std::move(uri).error();
  if (uri->path.empty()) return examine_shared(options, *uri->profile, logger);
  auto visit = Visit::open(options, *uri->profile);
  if (!visit.ok()) return std::move(visit).error();
  auto state = load_state(uri->path);
  if (!state.ok()) return std::move(state).error();
  TokenReport report;
  tell_facts(**visit, report);
  auto findings = compare(**visit, **state);
  if (!findings.ok()) return std::move(findings).error();
  report.findings = std::move(*findings);
  add_late_ones(options, **state, logger, report);
  return report;
}

Result<void> destroy_orphans(const StoreOptions& options, const std::vector<std::string>& ids,
                             Logger& logger) {
  auto uri = parse_store_uri(options.uri);
  if (!uri.ok()) return std::move(uri).error();
  if (uri->path.empty()) return destroy_shared_orphans(options, *uri->profile, ids, logger);
  auto visit = Visit::open(options, *uri->profile);
  if (!visit.ok()) return std::move(visit).error();
  auto first = load_state(uri->path);
  if (!first.ok()) return std::move(first).error();
  MetadataFile file(uri->path, {options.owner_uid, options.owner_gid}, options.lock_timeout_ms,
                    logger, *first);
  KMS_TRY(file.attach());
  WriteLock::Turn turn(file.lock());  // so that no server is making a key
  KMS_TRY(turn.take());
  auto base = file.writable_base();
  if (!base.ok()) return std::move(base).error();
  auto findings = compare(**visit, **base);
  if (!findings.ok()) return std::move(findings).error();
  State next = **base;
  KMS_TRY(each_orphan(*findings, ids, [&](const Finding& found) -> Result<void> {
    KMS_TRY(destroy(**visit, found));
    std::erase_if(next.pending, [&](const Pending& each) { return hex_text(each.id) == found.id; });
    return {};
  }));
  if (next.pending.size() == (*base)->pending.size()) return {};
  auto written = file.write(turn, **base, std::move(next), nullptr, {});
  return written.ok() ? Result<void>() : std::move(written).error();
}

}  // namespace kms::pkcs11
