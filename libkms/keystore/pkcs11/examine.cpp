// SPDX-License-Identifier: Apache-2.0
// Both sides compared, for kmsctl: a process that serves nothing and ends soon.
#include <algorithm>
#include <set>

#include "core/hex.h"
#include "keystore/pkcs11/metadata_file.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/pkcs11/uri.h"
#include "pkcs11/access.h"
#include "pkcs11/library.h"

namespace kms::pkcs11 {
namespace {

// A login for as long as the object lives.
class Visit {
 public:
  static Result<std::unique_ptr<Visit>> open(const StoreOptions& options) {
    auto uri = parse_store_uri(options.uri);
    if (!uri.ok()) return std::move(uri).error();
    auto access = TokenAccess::read(options.hsm, *uri->profile);
    if (!access.ok()) return std::move(access).error();
    access->set_environment();
    auto library = Library::load(access->library);
    if (!library.ok()) return std::move(library).error();
    if (const CK_RV rv = library->initialize(); rv != CKR_OK)
      return Error(ErrorKind::unavailable, call_text("C_Initialize", rv));
    std::unique_ptr<Visit> visit(new Visit(*library, access->library, uri->path));
    const LoginProblem problem =
        log_in(*library, access->address, access->pin, visit->login, access->options.pin_file);
    if (!problem.text.empty()) return Error(ErrorKind::unavailable, problem.text);
    return visit;
  }
  ~Visit() { library->C_Finalize(nullptr); }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  Session session() const { return {library.operator->(), login.session}; }

  Library library;
  std::string library_file, metadata_file;
  Login login;

 private:
  Visit(Library l, std::string file, std::string metadata)
      : library(l), library_file(std::move(file)), metadata_file(std::move(metadata)) {}
};

std::string version_text(CK_VERSION version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

std::string limit_text(CK_ULONG value) {
  if (value == CK_UNAVAILABLE_INFORMATION) return "not told";
  return value == CK_EFFECTIVELY_INFINITE ? "none" : std::to_string(value);
}

std::string mechanism_text(const Visit& visit, CK_MECHANISM_TYPE type) {
  CK_MECHANISM_INFO info{};
  const CK_RV rv = visit.library->C_GetMechanismInfo(visit.login.slot, type, &info);
  if (rv == CKR_MECHANISM_INVALID) return "no";
  return rv == CKR_OK ? "yes" : call_text("C_GetMechanismInfo", rv);
}

void tell_facts(const Visit& visit, TokenReport& report) {
  const auto add = [&](const char* name, std::string value) {
    report.facts.emplace_back(name, std::move(value));
  };
  CK_INFO library{};
  add("library", visit.library_file);
  if (visit.library->C_GetInfo(&library) == CKR_OK) {
    add("library maker", padded_text(library.manufacturerID, sizeof library.manufacturerID));
    add("library version", version_text(library.libraryVersion));
    add("PKCS#11 version", version_text(library.cryptokiVersion));
  }
  const CK_TOKEN_INFO& token = visit.login.info;
  add("token", padded_text(token.label, sizeof token.label));
  add("serial number", padded_text(token.serialNumber, sizeof token.serialNumber));
  add("model", padded_text(token.model, sizeof token.model));
  add("maker", padded_text(token.manufacturerID, sizeof token.manufacturerID));
  add("hardware version", version_text(token.hardwareVersion));
  add("firmware version", version_text(token.firmwareVersion));
  add("most sessions", limit_text(token.ulMaxSessionCount));
  add("most sessions that write", limit_text(token.ulMaxRwSessionCount));
  add("AES-ECB", mechanism_text(visit, CKM_AES_ECB));
  add("AES-CTR", mechanism_text(visit, CKM_AES_CTR));
  add("AES key generation", mechanism_text(visit, CKM_AES_KEY_GEN));
}

Finding look_at_version(const Visit& visit, const TokenVersion& version) {
  CK_OBJECT_HANDLE object = 0;
  const CK_RV rv = find_key(visit.session(), *version.key, object);
  Finding finding{Finding::Kind::good, version.version_name, hex_text(version.key->id), "usable"};
  if (rv == CKR_OK) return finding;
  finding.kind = rv == kKeyMissing ? Finding::Kind::missing : Finding::Kind::differs;
  finding.what = call_text("object", rv);
  return finding;
}

Result<std::vector<Finding>> compare(const Visit& visit, const State& state) {
  std::vector<Finding> findings;
  std::set<std::string> known;
  for (const auto& [name, record] : state.keys) {
    for (const TokenVersionPtr& version : record.versions) {
      if (version->outside()) {
        findings.push_back(
            {Finding::Kind::outside, version->version_name, {}, "in the previous keystore"});
        continue;
      }
      findings.push_back(look_at_version(visit, *version));
      known.insert(version->key->id);
    }
  }
  std::vector<TokenKey> keys;
  if (const CK_RV rv = list_keys(visit.session(), keys); rv != CKR_OK)
    return Error(ErrorKind::unavailable, call_text("C_FindObjects", rv));
  for (const TokenKey& key : keys) {
    if (known.contains(key.id)) continue;
    const bool pending = std::any_of(state.pending.begin(), state.pending.end(),
                                     [&](const Pending& each) { return each.id == key.id; });
    const bool ours = !state.store_id.empty() && key.id.size() == kKeyIdSize &&
                      key.id.starts_with(state.store_id);
    const auto kind = pending ? Finding::Kind::pending
                      : ours  ? Finding::Kind::orphan
                              : Finding::Kind::foreign;
    findings.push_back({kind, key.label, hex_text(key.id),
                        pending ? "left by an interrupted change; mended by a running server"
                        : ours  ? "made for this file, which does not know it"
                                : "not made for this file"});
  }
  return findings;
}

}  // namespace

Result<TokenReport> examine(const StoreOptions& options, Logger&) {
  auto visit = Visit::open(options);
  if (!visit.ok()) return std::move(visit).error();
  auto state = load_state((*visit)->metadata_file);
  if (!state.ok()) return std::move(state).error();
  TokenReport report;
  tell_facts(**visit, report);
  auto findings = compare(**visit, **state);
  if (!findings.ok()) return std::move(findings).error();
  report.findings = std::move(*findings);
  return report;
}

Result<void> destroy_orphans(const StoreOptions& options, const std::vector<std::string>& ids,
                             Logger& logger) {
  auto visit = Visit::open(options);
  if (!visit.ok()) return std::move(visit).error();
  auto first = load_state((*visit)->metadata_file);
  if (!first.ok()) return std::move(first).error();
  MetadataFile file((*visit)->metadata_file, {options.owner_uid, options.owner_gid},
                    options.lock_timeout_ms, logger, *first);
  KMS_TRY(file.attach());
  WriteLock::Turn turn(file.lock());  // so that no server is making a key
  KMS_TRY(turn.take());
  auto base = file.writable_base();
  if (!base.ok()) return std::move(base).error();
  auto findings = compare(**visit, **base);
  if (!findings.ok()) return std::move(findings).error();
  State next = **base;
  for (const std::string& id : ids) {
    const auto found = std::find_if(findings->begin(), findings->end(),
                                    [&](const Finding& each) { return each.id == id; });
    if (found == findings->end() ||
        (found->kind != Finding::Kind::orphan && found->kind != Finding::Kind::pending))
      return Error(ErrorKind::invalid_argument, id + " is no orphan of this store");
    const CK_RV rv = destroy_key((*visit)->session(), *unhex(id), found->label);
    if (rv != CKR_OK) return Error(ErrorKind::unavailable, call_text("C_DestroyObject", rv));
    std::erase_if(next.pending, [&](const Pending& each) { return hex_text(each.id) == id; });
  }
  if (next.pending.size() == (*base)->pending.size()) return {};
  auto written = file.write(turn, **base, std::move(next), nullptr, {});
  return written.ok() ? Result<void>() : std::move(written).error();
}

}  // namespace kms::pkcs11
