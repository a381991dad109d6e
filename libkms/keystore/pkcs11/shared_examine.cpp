// SPDX-License-Identifier: Apache-2.0
// Token and shared store compared, for kmsctl: a process that serves nothing and ends soon.
#include "core/hex.h"
#include "keystore/pkcs11/shared_store.h"
#include "keystore/pkcs11/visit.h"
#include "keystore/postgres/bulk.h"

namespace kms::pkcs11 {
namespace {

using kms::KeyRecord;

// Every version, deleted keys included, against its object.
class Comparison {
 public:
  Comparison(Visit& visit, const StoreOptions& options) : visit_(visit), options_(options) {}

  // The token first, then the notes, then the versions: what is made meanwhile has a note before it
  // has an object, and a version before it has no note any more, so it is not taken for an orphan.
  Result<std::vector<Finding>> run(Records& records) {
    auto keys = visit_.keys();
    if (!keys.ok()) return std::move(keys).error();
    auto id = shared_store_id(records, false);
    if (!id.ok()) return std::move(id).error();
    known_.store_id = std::move(*id);
    auto notes = records.read_all(kHsmPending);
    if (!notes.ok()) return std::move(notes).error();
    for (const RecordPtr& note : *notes)
      if (auto object = parse_reference(note->content.view()); object.ok())
        known_.pending.insert(object->id);
    KMS_TRY(read_versions());
    add_others(*keys, known_, findings_);
    return std::move(findings_);
  }

 private:
  Result<void> read_versions() {
    auto store = postgres::BulkAccess::open(options_.hsm.metadata_uri, options_.trustee, false);
    if (!store.ok()) return std::move(store).error();
    return store->in_snapshot([&]() -> Result<void> {
      for (std::string last;;) {
        auto keys = store->keys_after(last, [&](const std::string& what, const std::string& why) {
          findings_.push_back({Finding::Kind::differs, what, {}, why});
        });
        if (!keys.ok()) return std::move(keys).error();
        if (keys->empty()) return {};
        for (KeyRecord& key : *keys) KMS_TRY(look_at(key));
      }
    });
  }

  Result<void> look_at(KeyRecord& key) {
    for (KeyRecord::Version& each : key.versions) {
      const std::string name = version_name(key.metadata.name, each.number);
      const bool current = each.number == key.metadata.versions - 1;
      auto version = shared_version({key.metadata.name, name, std::move(each.material)},
                                    key.metadata.bit_length);
      if (!version.ok()) {
        findings_.push_back({Finding::Kind::differs, name, {}, version.error().message});
        continue;
      }
      const auto& shared = static_cast<const SharedVersion&>(**version);
      if (shared.key == nullptr) {
        findings_.push_back(
            {Finding::Kind::software,
             name,
             {},
             current ? "the current version, not in the HSM: roll the key" : "not in the HSM"});
        continue;
      }
      auto found = look_at_object(visit_, *shared.key);
      if (!found.ok()) return std::move(found).error();
      if (key.deleted_ms.has_value()) found->what += "; of a deleted key";
      known_.of_versions.insert(shared.key->id);
      findings_.push_back(std::move(*found));
    }
    return {};
  }

  Visit& visit_;
  const StoreOptions& options_;
  KnownObjects known_;
  std::vector<Finding> findings_;
};

// Note and object of a pending one, as a server mends it, but at any age.
Result<void> destroy_pending(const Visit& visit, Records& records, const Finding& finding) {
  const std::int64_t number = note_number(*unhex(finding.id));
  auto note = records.read(kHsmPending, number);
  if (!note.ok()) return std::move(note).error();
  const auto gone = [&] {
    return Error(ErrorKind::invalid_argument, finding.id + " is no orphan of this store any more");
  };
  if (*note == nullptr) return gone();
  if ((*note)->revision == kBeingMade) {
    auto claimed = claim_note(records, **note);
    if (!claimed.ok()) return std::move(claimed).error();
    if (!*claimed) return gone();
  }
  KMS_TRY(destroy(visit, finding));
  auto removed = records.remove(kHsmPending, number);
  return removed.ok() ? Result<void>() : std::move(removed).error();
}

// Store and token, open at once, in one login.
struct Both {
  StoreOptions options;
  std::unique_ptr<KeyStore> base;
  std::unique_ptr<Visit> visit;

  static Result<Both> open(StoreOptions options, const Profile& profile, Logger& logger,
                           bool to_write) {
    if (options.trustee.is_sealed_by_hsm()) {
      auto access = TokenAccess::read(options.hsm, profile);
      if (!access.ok()) return std::move(access).error();
      (void)share_token(options, *access, profile, logger);
    }
    auto base = open_shared_base(options, logger, !to_write);
    if (!base.ok()) return std::move(base).error();
    KMS_TRY((*base)->attach());
    auto visit = Visit::open(options, profile);
    if (!visit.ok()) return std::move(visit).error();
    return Both{std::move(options), std::move(*base), std::move(*visit)};
  }
};

}  // namespace

Result<TokenReport> examine_shared(const StoreOptions& options, const Profile& profile,
                                   Logger& logger) {
  auto both = Both::open(options, profile, logger, false);
  if (!both.ok()) return std::move(both).error();
  TokenReport report;
  tell_facts(*both->visit, report);
  report.facts.emplace_back("metadata", options.hsm.metadata_uri);
  auto findings = Comparison(*both->visit, both->options).run(*both->base->records());
  if (!findings.ok()) return std::move(findings).error();
  report.findings = std::move(*findings);
  return report;
}

Result<void> destroy_shared_orphans(const StoreOptions& options, const Profile& profile,
                                    const std::vector<std::string>& ids, Logger& logger) {
  auto both = Both::open(options, profile, logger, true);
  if (!both.ok()) return std::move(both).error();
  Records& records = *both->base->records();
  Visit& visit = *both->visit;
  auto findings = Comparison(visit, both->options).run(records);
  if (!findings.ok()) return std::move(findings).error();
  return each_orphan(*findings, ids, [&](const Finding& found) {
    return found.kind == Finding::Kind::pending ? destroy_pending(visit, records, found)
                                                : destroy(visit, found);
  });
}

}  // namespace kms::pkcs11
